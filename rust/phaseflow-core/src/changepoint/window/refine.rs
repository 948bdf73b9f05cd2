//! Start, end, size and shape of a window off the grid.
//!
//! The scan knows the window to a checkpoint and as a ramp. From there every [`Shape`] is fitted by compass search in
//! (middle, log width) at a fixed noise level, with the level chosen anew in between, and the likeliest shape stays.

use super::detector::Detector;
use super::fit::{Beside, product, with_room};
use super::forms::Functionals;
use super::likelihood::{Likelihood, Products, ROUNDING};
use super::noise::{Image, Level};
use super::shape::Shape;

/// Times the best place and the noise level are chosen in turn.
const TURNS: usize = 3;

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

/// Where the search for the best window of one shape has got to.
struct Course {
    shape: Shape,
    place: (f64, f64),
    /// The noise there.
    likelihood: Likelihood,
    best: Option<(f64, Change)>,
}

/// The window near `(start, end)` that makes the curve likeliest, beside the earlier ones.
///
/// The shapes take their steps side by side, because several images are made in the time of a few.
pub(crate) fn refine(detector: &Detector, earlier: &[&Image], curve: &Image, start: f64, end: f64) -> Option<Change> {
    let products = Products::new(&detector.noise, earlier, curve);
    let mut open = first_courses(detector, &products, start, end);
    let mut done = Vec::new();
    for _ in 0..TURNS {
        let (moved, stuck): (Vec<_>, Vec<_>) = open
            .into_iter()
            .map(|course| {
                let trials = Trials::new(detector, course.likelihood.level, course.shape, earlier, curve);
                let found = trials.descend(course.place.0, course.place.1);
                (course, found)
            })
            .partition(|(_, found)| found.is_some());
        done.extend(stuck.into_iter().map(|(course, _)| course));
        let places: Vec<(Shape, (f64, f64))> = moved
            .iter()
            .filter_map(|(course, found)| found.map(|(start, end, _)| (course.shape, (start, end))))
            .collect();
        let likelihoods = likelihoods_at(detector, &products, &places);
        open = Vec::new();
        for (((mut course, found), place), likelihood) in moved.into_iter().zip(places).zip(likelihoods) {
            let (Some((start, end, trial)), level) = (found, course.likelihood.level) else { continue };
            if course.best.as_ref().is_none_or(|(value, _)| likelihood.value > *value) {
                let change = Change { shape: course.shape, start, end, size: trial.size, level, left: trial.left };
                course.best = Some((likelihood.value, change));
            }
            (course.place, course.likelihood) = (place.1, likelihood);
            if likelihood.level == level { done.push(course) } else { open.push(course) }
        }
    }
    done.append(&mut open);
    // Of equals the first shape.
    done.sort_by_key(|course| Shape::ALL.iter().position(|shape| *shape == course.shape));
    done.into_iter().filter_map(|course| course.best).reduce(|a, b| if b.0 > a.0 { b } else { a }).map(|best| best.1)
}

/// Every shape at the likeliest of a few places around the first one.
fn first_courses(detector: &Detector, products: &Products<'_>, start: f64, end: f64) -> Vec<Course> {
    let (middle, width) = ((start + end) / 2.0, end - start);
    let places = [1.0, 0.6, 1.6, 2.5]
        .iter()
        .map(|stretch| (middle - stretch * width / 2.0, middle + stretch * width / 2.0))
        .filter(|&(start, end)| detector.allows(start, end));
    let places: Vec<(f64, f64)> = places.collect();
    let of_shapes: Vec<(Shape, (f64, f64))> =
        Shape::ALL.iter().flat_map(|shape| places.iter().map(|place| (*shape, *place))).collect();
    let likelihoods = likelihoods_at(detector, products, &of_shapes);
    let courses: Vec<Course> = of_shapes
        .into_iter()
        .zip(likelihoods)
        .map(|((shape, place), likelihood)| Course { shape, place, likelihood, best: None })
        .collect();
    let better = |a: Course, b: Course| if b.likelihood.value > a.likelihood.value { b } else { a };
    let mut courses = courses.into_iter().peekable();
    Shape::ALL
        .iter()
        .filter_map(|shape| std::iter::from_fn(|| courses.next_if(|course| course.shape == *shape)).reduce(better))
        .collect()
}

/// The likeliest noise beside each of these windows.
fn likelihoods_at(detector: &Detector, products: &Products<'_>, windows: &[(Shape, (f64, f64))]) -> Vec<Likelihood> {
    let u = &detector.places.u;
    let columns: Vec<Vec<f64>> = windows.iter().map(|(shape, (start, end))| shape.over(u, *start, *end)).collect();
    detector.noise.images(&columns).iter().map(|image| with_room(products, image)).collect()
}
