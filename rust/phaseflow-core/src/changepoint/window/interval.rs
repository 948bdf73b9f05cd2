//! How far start, end and size may move before the curve speaks against it.
//!
//! Profile likelihood: a place belongs to the 95% set when its deviance `n ln(left / smallest left)` is at most
//! [`CUT`]; the interval of the start is the range of starts in the set, whatever the end, and likewise for the end and
//! for the size. The set is explored outward from the best place, and joined with the windows of the grid that overlap
//! the best one and are inside the cut, because another may fit nearly as well. (With those elsewhere as well the
//! intervals cover no more, .94 of 3,307 simulated sizes either way, and a tenth wider.) `CUT` is the 95% quantile of a
//! chi-squared with one degree of freedom, 3.84, widened to what simulation asks for (benches/window_calibration.py):
//! noise level and shape are estimated too.

use super::detector::Detector;
use super::fit::Beside;
use super::noise::Image;
use super::refine::{Change, Trials};
use super::scan::Widths;
use super::shape::Shape;

const CUT: f64 = 5.5;
/// Steps of the search for the edge of the set.
const BISECTIONS: usize = 7;

/// Lower and upper ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Intervals {
    pub(crate) start: (f64, f64),
    pub(crate) end: (f64, f64),
    pub(crate) size: (f64, f64),
}

/// What has been found to lie inside the set.
struct Explored<'a> {
    trials: &'a Trials<'a>,
    smallest: f64,
    found: Intervals,
}

impl Explored<'_> {
    /// Whether `(start, end)` is in the set; if so the intervals grow to hold it.
    fn visit(&mut self, start: f64, end: f64) -> Option<f64> {
        let trial = self.trials.at(start, end)?;
        let freedom = self.trials.detector.noise.freedom as f64;
        let deviance = freedom * (trial.left / self.smallest).ln();
        if deviance > CUT {
            return Some(deviance);
        }
        widen(&mut self.found.start, start);
        widen(&mut self.found.end, end);
        // At this place the deviance grows with the square of the size's distance from its best value.
        let spare = ((CUT - deviance) / freedom).exp_m1() * trial.left / trial.information;
        widen(&mut self.found.size, trial.size - spare.max(0.0).sqrt());
        widen(&mut self.found.size, trial.size + spare.max(0.0).sqrt());
        Some(deviance)
    }

    /// Whether some window with this start (or this end) is in the set; `other` is where its other end was best.
    fn any_with(&mut self, fixed: Edge, place: f64, other: &mut f64) -> bool {
        let window = |other: f64| match fixed {
            Edge::Start => (place, other),
            Edge::End => (other, place),
        };
        let width = (*other - place).abs();
        let mut best = f64::INFINITY;
        if let Some(deviance) = self.visit(window(*other).0, window(*other).1) {
            best = deviance;
        }
        let mut reach = 0.5 * width;
        while reach > 0.004 * width {
            let mut moved = false;
            for candidate in [*other - reach, *other + reach] {
                let (start, end) = window(candidate);
                if let Some(deviance) = self.visit(start, end).filter(|deviance| *deviance < best) {
                    (best, *other, moved) = (deviance, candidate, true);
                }
            }
            if !moved {
                reach /= 2.0;
            }
        }
        best <= CUT
    }

    /// Moves one edge outward until no window with it is in the set.
    fn explore(&mut self, fixed: Edge, best: (f64, f64), direction: f64) {
        let (own, mut other) = match fixed {
            Edge::Start => best,
            Edge::End => (best.1, best.0),
        };
        let limit = self.trials.detector.span();
        let mut step = 0.02 * (best.1 - best.0);
        let (mut inside, mut inside_other) = (0.0, other);
        while step < limit && self.any_with(fixed, own + direction * step, &mut other) {
            (inside, inside_other) = (step, other);
            step *= 2.0;
        }
        let mut outside = step.min(limit);
        for _ in 0..BISECTIONS {
            let middle = 0.5 * (inside + outside);
            other = inside_other;
            if self.any_with(fixed, own + direction * middle, &mut other) {
                (inside, inside_other) = (middle, other);
            } else {
                outside = middle;
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Start,
    End,
}

fn widen(interval: &mut (f64, f64), value: f64) {
    *interval = (interval.0.min(value), interval.1.max(value));
}

/// The 95% intervals of a window beside the others of its curve.
pub(crate) fn intervals(detector: &Detector, others: &[&Image], curve: &Image, change: &Change) -> Intervals {
    let trials = Trials::new(detector, change.level, change.shape, others, curve);
    let here = Intervals {
        start: (change.start, change.start),
        end: (change.end, change.end),
        size: (change.size, change.size),
    };
    let mut explored = Explored { trials: &trials, smallest: change.left, found: here };
    for direction in [-1.0, 1.0] {
        explored.explore(Edge::Start, (change.start, change.end), direction);
        explored.explore(Edge::End, (change.start, change.end), direction);
    }
    let mut found = explored.found;
    join_grid(detector, others, curve, change, &mut found);
    found
}

/// Adds the ramps of the grid that overlap the window and fit as well as it does.
fn join_grid(detector: &Detector, others: &[&Image], curve: &Image, change: &Change, found: &mut Intervals) {
    let beside = Beside::new(&detector.noise, change.level, others, curve);
    let square = beside.square();
    let freedom = detector.noise.freedom as f64;
    let (b, parts) = beside.hinge_products(detector);
    let ramps = Trials::new(detector, change.level, Shape::Ramp, others, curve);
    let allowed = change.left * (CUT / freedom).exp();
    detector.table(change.level).each_gain(&b, &parts, Widths::All, |start, end, gain| {
        let (start, end) = (detector.places.at(start), detector.places.at(end));
        let meets = start < change.end && end > change.start;
        if meets && square - gain <= allowed {
            widen(&mut found.start, start);
            widen(&mut found.end, end);
            if let Some(trial) = ramps.at(start, end) {
                widen(&mut found.size, trial.size);
            }
        }
    });
}
