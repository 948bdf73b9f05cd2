//! The window detector for one grid of checkpoints: everything that does not depend on a curve, made once.
//!
//! definitions.md, section 4. A curve is a smooth base plus `size * shape((u - start) / (end - start))` plus AR(1)
//! noise; all windows of the grid are scanned; the largest statistic is held against its simulated distribution.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::base::{Base, Scale, axis};
use super::forms::Forms;
use super::noise::{Level, Noise, Projected};
use super::null::Null;
use super::scan::{Places, Table};
use crate::vectorize::vectorize;
use crate::{Cancel, Error, Result};

/// Most places a window may start or end at: beyond, every few checkpoints.
const MOST_CANDIDATES: usize = 192;

/// Widest window, in decades, that does not look like a relaxation: under a third of the width of one, which is 1.18
/// decades between its levels along its steepest tangent.
const NARROW: f64 = 0.35;

/// How the detector looks at a grid.
#[derive(Debug, Clone)]
pub struct Options {
    /// The axis of the model.
    pub scale: Scale,
    /// Curves without a window.
    pub base: Base,
    /// Checkpoints that must lie before a start and after an end.
    pub flank: usize,
    /// Widest window, in decades of x (scale log) or in x.
    pub max_width: Option<f64>,
    /// Curves simulated for a threshold.
    pub simulations: usize,
    /// Seed of those.
    pub seed: u64,
}

/// A prepared grid; curves on it go through [`Detector::detect`](super::detect).
#[derive(Debug)]
pub struct Detector {
    pub(crate) noise: Noise,
    pub(crate) places: Places,
    pub(crate) options: Options,
    centre: f64,
    half_range: f64,
    /// Of every correlation, as it sees the hinge of every candidate.
    hinges: Vec<OnceLock<Vec<Projected>>>,
    forms: Vec<OnceLock<Forms>>,
    tables: Vec<OnceLock<Table>>,
    nulls: Mutex<HashMap<Level, Arc<Null>>>,
    /// A grid whose simulated distributions stand in for own ones.
    thresholds: Option<Arc<Detector>>,
}

impl Detector {
    /// Prepares the grid `x`; `variance`, where given, is the noise variance of every checkpoint up to a common factor.
    pub fn new(x: &[f64], variance: Option<&[f64]>, options: Options, cancel: &Cancel) -> Result<Self> {
        let u = axis(x, options.scale, options.base)?;
        let least = 2 * options.flank + 6;
        if x.len() < least.max(12) {
            return Err(Error::TooShort { argument: "signal", axis: "sample", least: least.max(12), got: x.len() });
        }
        if options.simulations < 100 {
            return Err(Error::OutOfRange {
                argument: "simulations",
                expected: "at least 100".into(),
                got: options.simulations.to_string(),
            });
        }
        if let Some(width) = options.max_width.filter(|width| !width.is_finite() || *width <= 0.0) {
            return Err(Error::OutOfRange {
                argument: "max_width",
                expected: "above 0".into(),
                got: width.to_string(),
            });
        }
        let deviations = match variance {
            None => vec![1.0; x.len()],
            Some(variance) => relative_deviations(variance, x.len())?,
        };
        let (first, last) = (u[0], u[u.len() - 1]);
        let (centre, half_range) = (0.5 * (first + last), 0.5 * (last - first));
        let u: Vec<f64> = u.iter().map(|value| (value - centre) / half_range).collect();
        let noise = Noise::new(&options.base.free_columns(x, &u), options.base.random_columns(x), deviations, cancel)?;
        let max_width = options.max_width.map_or(f64::INFINITY, |width| width / half_range * (1.0 + 1e-12));
        let candidates = candidates(&u, options.flank);
        let hinges = noise.correlations.iter().map(|_| OnceLock::new()).collect();
        let forms = noise.correlations.iter().map(|_| OnceLock::new()).collect();
        let tables = (0..noise.correlations.len() * noise.taus.len()).map(|_| OnceLock::new()).collect();
        let narrow = if options.scale == Scale::Log { NARROW / half_range } else { 0.0 };
        let places = Places { u, candidates, max_width, narrow };
        Ok(Self {
            noise,
            places,
            options,
            centre,
            half_range,
            hinges,
            forms,
            tables,
            nulls: Mutex::new(HashMap::new()),
            thresholds: None,
        })
    }

    /// With the simulated distributions of another variance on the same checkpoints: they depend on it little.
    pub fn with_thresholds_of(mut self, other: Arc<Detector>) -> Self {
        self.thresholds = Some(other);
        self
    }

    /// Number of checkpoints.
    pub fn n_samples(&self) -> usize {
        self.places.u.len()
    }

    pub(crate) fn table(&self, level: Level) -> &Table {
        self.tables[self.noise.index(level)]
            .get_or_init(|| Table::new(&self.noise, &self.places, self.hinges(level.rho), level))
    }

    /// Prepares what the likelihood of any curve asks for, correlation by correlation.
    pub(crate) fn prepare(&self, cancel: &Cancel) -> Result<()> {
        for rho in 0..self.hinges.len() {
            cancel.check()?;
            self.hinges(rho);
        }
        Ok(())
    }

    fn hinges(&self, rho: usize) -> &[Projected] {
        let project = |slot: usize| self.noise.project(rho, &self.places.hinge(slot));
        self.hinges[rho].get_or_init(|| (0..self.places.candidates.len()).map(project).collect())
    }

    /// The ramp between two candidates as one correlation sees it: the difference of their hinges.
    pub(crate) fn ramp(&self, rho: usize, (start, end): (usize, usize), into: &mut Projected) {
        let share = 1.0 / (self.places.at(end) - self.places.at(start));
        let (first, second) = (&self.hinges(rho)[start], &self.hinges(rho)[end]);
        vectorize(
            #[inline(always)]
            || {
                difference(&mut into.rest, share, &first.rest, &second.rest);
                difference(&mut into.parts, share, &first.parts, &second.parts);
            },
        );
    }

    /// What one correlation makes of any shape.
    pub(crate) fn forms(&self, rho: usize) -> &Forms {
        self.forms[rho].get_or_init(|| Forms::new(&self.noise, rho))
    }

    /// The simulated distribution of a noise level, kept from the second call on.
    pub(crate) fn null(&self, level: Level, cancel: &Cancel) -> Result<Arc<Null>> {
        if let Some(other) = &self.thresholds {
            return other.null(level, cancel);
        }
        // A poisoned lock only means that another thread stopped between two whole insertions.
        let known = self.nulls.lock().unwrap_or_else(PoisonError::into_inner).get(&level).cloned();
        if let Some(null) = known {
            return Ok(null);
        }
        let null = Arc::new(Null::simulate(self, level, cancel)?);
        self.nulls.lock().unwrap_or_else(PoisonError::into_inner).insert(level, Arc::clone(&null));
        Ok(null)
    }

    /// The x of a place on the model's axis.
    pub(crate) fn x_at(&self, place: f64) -> f64 {
        self.options.scale.x_of_axis(self.centre + self.half_range * place)
    }

    /// Whether a window may lie there: between the candidates, not wider than allowed, and not narrower than the
    /// distance between the checkpoints around its middle, because a change between two checkpoints has no finer place.
    pub(crate) fn allows(&self, start: f64, end: f64) -> bool {
        let Places { u, candidates, max_width, .. } = &self.places;
        let (Some(&first), Some(&last)) = (candidates.first(), candidates.last()) else { return false };
        let slack = 1e-9;
        if start < u[first] - slack || end > u[last] + slack || end - start > *max_width {
            return false;
        }
        let after = u.partition_point(|place| *place <= 0.5 * (start + end)).clamp(1, u.len() - 1);
        end - start >= (u[after] - u[after - 1]) * (1.0 - 1e-9)
    }

    /// Length of the axis.
    pub(crate) fn span(&self) -> f64 {
        2.0
    }
}

/// `into = share (a - b)`.
#[inline(always)]
fn difference(into: &mut Vec<f64>, share: f64, a: &[f64], b: &[f64]) {
    into.resize(a.len().min(b.len()), 0.0);
    let count = into.len();
    let (into, a, b) = (&mut into[..count], &a[..count], &b[..count]);
    for index in 0..count {
        into[index] = (a[index] - b[index]) * share;
    }
}

/// Standard deviations with geometric mean 1.
fn relative_deviations(variance: &[f64], n_samples: usize) -> Result<Vec<f64>> {
    if variance.len() != n_samples {
        return Err(Error::ShapeMismatch {
            argument: "variance",
            axis: "sample",
            expected: n_samples,
            got: variance.len(),
        });
    }
    if let Some(index) = variance.iter().position(|value| !value.is_finite() || *value <= 0.0) {
        return Err(Error::OutOfRange {
            argument: "variance",
            expected: "finite and above 0 at every checkpoint".into(),
            got: format!("{} at index {index}", variance[index]),
        });
    }
    let middle = variance.iter().map(|value| value.ln()).sum::<f64>() / n_samples as f64;
    Ok(variance.iter().map(|value| (0.5 * (value.ln() - middle)).exp()).collect())
}

/// Samples a window may start or end at: all of them but the flanks, thinned evenly where there are too many (half by
/// index, half by place, so that neither an even nor a logarithmic grid leaves a gap).
fn candidates(u: &[f64], flank: usize) -> Vec<usize> {
    let all: Vec<usize> = (flank..u.len() - flank).collect();
    if all.len() <= MOST_CANDIDATES {
        return all;
    }
    let (first, last) = (all[0], all[all.len() - 1]);
    let progress = |index: usize| {
        0.5 * (index - first) as f64 / (last - first) as f64 + 0.5 * (u[index] - u[first]) / (u[last] - u[first])
    };
    let mut next = 0.0;
    all.into_iter()
        .filter(|&index| {
            let take = index == last || progress(index) >= next;
            if take {
                next = (progress(index) * (MOST_CANDIDATES - 1) as f64).floor() / (MOST_CANDIDATES - 1) as f64
                    + 1.0 / (MOST_CANDIDATES - 1) as f64;
            }
            take
        })
        .collect()
}
