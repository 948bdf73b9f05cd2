//! Curves as they are fitted: their images, made together, and what is known beside their base.

use std::ops::Range;

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::detector::Detector;
use super::fit::{Fit, best_window};
use super::noise::Image;
use super::null::scaled;
use super::refine::Change;
use super::together::TOGETHER;
use crate::{Cancel, Result};

/// A window larger than this many times the range of its curve bends the base. Noise and the tails of the softer shapes
/// take the size of a real one a little over the range.
const RUNAWAY: f64 = 1.25;
/// What a window is fitted with: its start, its end and its size; and a bend with its beginning and its size.
const OF_WINDOW: usize = 3;
const OF_BEND: usize = 2;
/// Numbers of images that are kept at once (32 MB).
const NUMBERS_AT_ONCE: usize = 1 << 22;

/// What a significant window is taken for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A phase change.
    Reported,
    /// The rest of the shape of a reported one.
    Mends,
    /// A bend that the base lacks.
    Bends,
}

pub(crate) struct Found {
    pub(crate) change: Change,
    pub(crate) image: Image,
    pub(crate) p_value: f64,
    pub(crate) role: Role,
}

impl Found {
    /// Whether this only completes the shape of `change`.
    pub(crate) fn mends(&self, change: &Change) -> bool {
        self.role == Role::Mends && touches(change, &self.change)
    }
}

pub(crate) struct Curve {
    pub(crate) series: usize,
    pub(crate) image: Image,
    /// Largest less smallest value of the scaled curve.
    pub(crate) range: f64,
    pub(crate) scale: f64,
    pub(crate) found: Vec<Found>,
    /// Bends of this curve that the base lacks, from some place to the end of the run.
    pub(crate) bends: Vec<Image>,
    pub(crate) p_value: Option<f64>,
    pub(crate) open: bool,
}

impl Curve {
    /// What the curve has beside the base, as far as it is known.
    pub(crate) fn known(&self) -> Vec<&Image> {
        self.found.iter().map(|found| &found.image).chain(&self.bends).collect()
    }

    /// Of what the noise was estimated from with the base alone, the share that is left beside what is known. Twice a gain
    /// in log-likelihood is `freedom ln(ratio of squares)`; a second window's is held against curves with nothing but the
    /// base, and has so much less freedom.
    pub(crate) fn freedom_left(&self, freedom: usize) -> f64 {
        let fitted = OF_WINDOW * self.found.len() + OF_BEND * self.bends.len();
        freedom.saturating_sub(fitted) as f64 / freedom as f64
    }

    pub(crate) fn runs_away(&self, change: &Change) -> bool {
        change.size.abs() > RUNAWAY * self.range
    }
}

impl Detector {
    /// How every row fits with the base alone.
    pub(crate) fn fit_alone(&self, signals: ArrayView2<'_, f64>, cancel: &Cancel) -> Result<Vec<Fit>> {
        self.each_together(signals.nrows(), cancel, |some| {
            let rows: Vec<Vec<f64>> = some.map(|series| scaled(&signals.row(series).to_vec()).0).collect();
            self.noise.images(&rows).iter().map(|curve| best_window(self, &[], curve, cancel)).collect()
        })
    }

    /// These rows.
    pub(crate) fn curves(&self, signals: ArrayView2<'_, f64>, series: &[usize], cancel: &Cancel) -> Result<Vec<Curve>> {
        self.each_together(series.len(), cancel, |some| {
            let series = &series[some];
            let rows = series.iter().map(|&series| scaled(&signals.row(series).to_vec()));
            let (rows, scales): (Vec<Vec<f64>>, Vec<f64>) = rows.unzip();
            let parts = self.noise.images(&rows).into_iter().zip(&rows).zip(series.iter().zip(scales));
            let curve = |((image, row), (&series, scale)): ((Image, &Vec<f64>), (&usize, f64))| {
                let extremes = row.iter().fold((0.0_f64, 0.0_f64), |(low, high), &y| (low.min(y), high.max(y)));
                let range = extremes.1 - extremes.0;
                let (found, bends) = (Vec::new(), Vec::new());
                Curve { series, image, range, scale, found, bends, p_value: None, open: true }
            };
            Ok(parts.map(curve).collect())
        })
    }

    /// How many curves may have their images in memory: many are spread over threads best, and those of a whole panel
    /// would fill it.
    pub(crate) fn curves_at_once(&self) -> usize {
        (NUMBERS_AT_ONCE / (self.noise.correlations.len() * self.n_samples())).max(16 * TOGETHER)
    }

    /// What `work` makes of `0..count`, in order: of as many at a time as have their images made together.
    pub(crate) fn each_together<T: Send>(
        &self,
        count: usize,
        cancel: &Cancel,
        work: impl Fn(Range<usize>) -> Result<Vec<T>> + Sync,
    ) -> Result<Vec<T>> {
        let firsts: Vec<usize> = (0..count).step_by(TOGETHER).collect();
        let found = firsts.par_iter().map(|&first| {
            cancel.check()?;
            work(first..(first + TOGETHER).min(count))
        });
        Ok(found.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }
}

/// Whether two windows overlap or lie closer than half the first one's width on either side.
pub(crate) fn touches(first: &Change, second: &Change) -> bool {
    let reach = 0.5 * (first.end - first.start);
    second.start <= first.end + reach && second.end >= first.start - reach
}
