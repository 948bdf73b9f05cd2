//! Start, end, size and shape of a window off the grid.
//!
//! The scan knows the window to a checkpoint and as a ramp. From there every [`Shape`] is fitted by compass search in
//! (middle, log width) at a fixed noise level, with the level chosen anew in between, and the likeliest shape stays.

use super::detector::Detector;
use super::fit::{Beside, product, with_room};
use super::forms::Functionals;
use super::likelihood::{Products, ROUNDING};
use super::noise::{Image, Level};
use super::shape::Shape;

/// A window on the axis of the model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) shape: Shape,
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// Height on the scaled curve.
    pub(crate) size: f64,
    pub(crate) level: Level,
    /// Residual sum of squares with the window.
    pub(crate) left: f64,
}

/// How one window of a given place fits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    pub(crate) left: f64,
    pub(crate) size: f64,
    /// `shape' P shape`, free of earlier windows: the inverse variance of the size, up to the noise's.
    pub(crate) information: f64,
}

/// Fits windows of one shape beside earlier ones at one noise level.
pub(crate) struct Trials<'a> {
    pub(crate) detector: &'a Detector,
    pub(crate) beside: Beside,
    pub(crate) shape: Shape,
    square: f64,
    /// `P y` of the curve and of the earlier windows.
    seen: Functionals,
}

impl<'a> Trials<'a> {
    pub(crate) fn new(detector: &'a Detector, level: Level, shape: Shape, earlier: &[&Image], curve: &Image) -> Self {
        let beside = Beside::new(&detector.noise, level, earlier, curve);
        let square = beside.square();
        let seen: Vec<Vec<f64>> = std::iter::once(&beside.curve)
            .chain(&beside.columns)
            .map(|vector| detector.noise.residual(level, vector))
            .collect();
        Self { detector, beside, shape, square, seen: Functionals::new(&seen) }
    }

    /// `None` where the place is outside the candidates, narrower than a checkpoint, or not told from the rest.
    pub(crate) fn at(&self, start: f64, end: f64) -> Option<Trial> {
        if !self.detector.allows(start, end) {
            return None;
        }
        let u = &self.detector.places.u;
        let between = self.shape.between(u, start, end);
        let inside = self.shape.over(&u[between.clone()], start, end);
        let forms = self.detector.forms(self.beside.level.rho);
        let mut products = Vec::new();
        let Some(before) = forms.square(&self.beside.weights, &between, &inside, &mut products) else {
            return self.by_projection(start, end);
        };
        self.seen.of(&between, &inside, &mut products);
        let (shared, earlier) = products.split_first()?;
        let information = before - earlier.iter().map(|part| part * part).sum::<f64>();
        self.trial(before, information, *shared)
    }

    /// The same by removing base, directions and earlier windows from the shape, one after the other.
    fn by_projection(&self, start: f64, end: f64) -> Option<Trial> {
        let column = self.shape.over(&self.detector.places.u, start, end);
        let mut vector = self.detector.noise.project(self.beside.level.rho, &column);
        let before = product(&self.beside.weights, &vector, &vector);
        self.beside.clear(&mut vector);
        let information = product(&self.beside.weights, &vector, &vector);
        self.trial(before, information, product(&self.beside.weights, &vector, &self.beside.curve))
    }

    fn trial(&self, before: f64, information: f64, shared: f64) -> Option<Trial> {
        if information <= 1e-3 * before || information <= 1e-14 {
            return None;
        }
        let left = (self.square - shared * shared / information).max(ROUNDING);
        Some(Trial { left, size: shared / information, information })
    }

    /// Compass search from a first place; `None` where that place itself is not allowed.
    fn descend(&self, start: f64, end: f64) -> Option<(f64, f64, Trial)> {
        let mut best = (start, end, self.at(start, end)?);
        let mut reach = 0.5;
        while reach > 2e-3 {
            let (middle, width) = ((best.0 + best.1) / 2.0, best.1 - best.0);
            let shift = reach * width / 2.0;
            let stretch = 1.0 + reach;
            let moves = [
                (middle - shift, width),
                (middle + shift, width),
                (middle, width * stretch),
                (middle, width / stretch),
            ];
            let mut moved = false;
            for (middle, width) in moves {
                let (start, end) = (middle - width / 2.0, middle + width / 2.0);
                if let Some(trial) = self.at(start, end).filter(|trial| trial.left < best.2.left) {
                    best = (start, end, trial);
                    moved = true;
                }
            }
            if !moved {
                reach /= 2.0;
            }
        }
        Some(best)
    }
}

/// The window near `(start, end)` that makes the curve likeliest, beside the earlier ones.
pub(crate) fn refine(detector: &Detector, earlier: &[&Image], curve: &Image, start: f64, end: f64) -> Option<Change> {
    let mut best: Option<(f64, Change)> = None;
    let products = Products::new(&detector.noise, earlier, curve);
    for shape in Shape::ALL {
        let level_at = |start: f64, end: f64| {
            with_room(&products, &detector.noise.image(&shape.over(&detector.places.u, start, end)))
        };
        let (middle, width) = ((start + end) / 2.0, end - start);
        let first = [1.0, 0.6, 1.6, 2.5]
            .iter()
            .map(|stretch| (middle - stretch * width / 2.0, middle + stretch * width / 2.0))
            .filter(|&(start, end)| detector.allows(start, end))
            .map(|(start, end)| (level_at(start, end), start, end))
            .reduce(|a, b| if b.0.value > a.0.value { b } else { a });
        let Some((mut likelihood, mut start, mut end)) = first else { continue };
        for _ in 0..3 {
            let trials = Trials::new(detector, likelihood.level, shape, earlier, curve);
            let Some((new_start, new_end, trial)) = trials.descend(start, end) else { break };
            (start, end) = (new_start, new_end);
            let level = likelihood.level;
            likelihood = level_at(start, end);
            if best.as_ref().is_none_or(|(value, _)| likelihood.value > *value) {
                let change = Change { shape, start, end, size: trial.size, level, left: trial.left };
                best = Some((likelihood.value, change));
            }
            if likelihood.level == level {
                break;
            }
        }
    }
    best.map(|(_, change)| change)
}
