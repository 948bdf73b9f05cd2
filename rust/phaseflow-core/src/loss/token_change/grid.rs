//! The checkpoints of a scan: the smooth base on them, and every ramp that is tried.

use crate::{Error, Result};

/// Widths of the ramps in decades of the step; 0 is from one checkpoint to the next.
const WIDTHS: [f64; 4] = [0.0, 0.15, 0.3, 0.6];
/// Checkpoints that must lie at or before a ramp's start, and at or after its end.
const FLANK: usize = 5;
/// Fewest checkpoints: the base has four functions, a ramp two flanks.
pub(super) const LEAST: usize = 16;

/// Where a drop happens: between the checkpoints `start` and `end`, the last before it and the first after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ramp {
    /// Index of the last checkpoint before the drop.
    pub start: usize,
    /// Index of the first checkpoint after it.
    pub end: usize,
}

/// Variance of the wander per decade, in units of the noise variance.
pub(super) const WANDER: [f64; 6] = [0.0, 0.5, 2.0, 8.0, 32.0, 128.0];

/// Checkpoints, base and ramps, prepared once for any number of tokens.
#[derive(Debug, Clone)]
pub struct Grid {
    /// log10(step).
    pub(super) u: Vec<f64>,
    /// The noise's variance at every checkpoint, in units of the wander's.
    pub(super) noise: Vec<f64>,
    /// The smooth base, orthonormal.
    pub(super) base: Vec<Vec<f64>>,
    /// Every ramp tried.
    pub(super) ramps: Vec<Ramp>,
    /// What depends on the wander, one for each of [`WANDER`].
    pub(super) levels: Vec<Level>,
}

/// Whitening, base and ramps under one variance of the wander.
#[derive(Debug, Clone)]
pub(super) struct Level {
    /// Gain of the Kalman filter at each checkpoint.
    pub(super) gain: Vec<f64>,
    /// One over the standard deviation of its innovation, which starts from the noise's.
    pub(super) weight: Vec<f64>,
    /// The whitened base, orthonormal.
    pub(super) base: Vec<Vec<f64>>,
    /// For each ramp `1 / (sqrt(ramp' M ramp) (u_end - u_start))`.
    pub(super) scale: Vec<f64>,
    /// `ln |Σ| + ln |X' Σ⁻¹ X|`, with `X` the base.
    pub(super) log_determinant: f64,
}

impl Grid {
    /// Prepares the checkpoints at `steps`, strictly increasing and positive, at least 16.
    pub fn new(steps: &[f64]) -> Result<Self> {
        if steps.len() < LEAST {
            return Err(Error::TooShort { argument: "steps", axis: "checkpoint", least: LEAST, got: steps.len() });
        }
        for (index, &step) in steps.iter().enumerate() {
            let above = if index == 0 { 0.0 } else { steps[index - 1] };
            if !(step.is_finite() && step > above) {
                return Err(Error::OutOfRange {
                    argument: "steps",
                    expected: format!("finite and increasing, above {above} at checkpoint {index}"),
                    got: step.to_string(),
                });
            }
        }
        let u: Vec<f64> = steps.iter().map(|step| step.log10()).collect();
        let power = |exponent: f64| steps.iter().map(|step| (step / steps[0]).powf(exponent)).collect::<Vec<f64>>();
        let (base, _) = orthonormal(vec![vec![1.0; steps.len()], u.clone(), power(-0.25), power(-0.5)]);
        let ramps = ramps(&u);
        let grid = Self { u, noise: Vec::new(), base, ramps, levels: Vec::new() };
        grid.with_noise(&vec![1.0; steps.len()])
    }

    /// The same with noise of these variances, one for each checkpoint, positive; the wander is in units of 1.
    pub fn with_noise(mut self, noise: &[f64]) -> Result<Self> {
        if noise.len() != self.u.len() {
            let (expected, got) = (self.u.len(), noise.len());
            return Err(Error::ShapeMismatch { argument: "noise", axis: "checkpoint", expected, got });
        }
        if let Some(wrong) = noise.iter().find(|variance| !(variance.is_finite() && **variance > 0.0)) {
            let expected = "finite and above 0".into();
            return Err(Error::OutOfRange { argument: "noise", expected, got: wrong.to_string() });
        }
        self.levels =
            WANDER.iter().map(|&wander| Level::new(&self.u, noise, &self.base, &self.ramps, wander)).collect();
        self.noise = noise.to_vec();
        Ok(self)
    }

    /// Every ramp that is tried; a [`Scan`](super::Scan) names them by their index here.
    pub fn ramps(&self) -> &[Ramp] {
        &self.ramps
    }
}

/// Each start with the end nearest to each width, once.
fn ramps(u: &[f64]) -> Vec<Ramp> {
    let last = u.len() - FLANK;
    let mut ramps = Vec::new();
    for start in FLANK - 1..last {
        let mut ends: Vec<usize> = WIDTHS
            .iter()
            .filter_map(|&width| {
                let beyond = u.partition_point(|&at| at < u[start] + width).max(start + 1);
                if beyond >= u.len() {
                    return None; // the ramp would not end within the observed steps
                }
                let before = (beyond - 1).max(start + 1);
                let nearer = if (u[before] - u[start] - width).abs() < (u[beyond] - u[start] - width).abs() {
                    before
                } else {
                    beyond
                };
                (nearer <= last).then_some(nearer)
            })
            .collect();
        ends.dedup();
        ramps.extend(ends.into_iter().map(|end| Ramp { start, end }));
    }
    ramps
}

impl Level {
    fn new(u: &[f64], noise: &[f64], base: &[Vec<f64>], ramps: &[Ramp], wander: f64) -> Self {
        let (mut gain, mut weight) = (Vec::new(), Vec::new());
        let (mut state, mut log_determinant) = (0.0, 0.0);
        for at in 0..u.len() {
            let innovation: f64 = state + noise[at];
            gain.push(state / innovation);
            weight.push(1.0 / innovation.sqrt());
            log_determinant += innovation.ln();
            let gap = if at + 1 < u.len() { u[at + 1] - u[at] } else { 0.0 };
            state = state * noise[at] / innovation + wander * gap;
        }
        let mut level = Self { gain, weight, base: Vec::new(), scale: Vec::new(), log_determinant };
        let (base, squares) = orthonormal(base.iter().map(|function| level.whiten(function)).collect());
        level.base = base;
        level.log_determinant += squares.iter().map(|square| square.ln()).sum::<f64>();
        level.scale = ramps.iter().map(|ramp| level.scale_of(u, *ramp)).collect();
        level
    }

    fn whiten(&self, function: &[f64]) -> Vec<f64> {
        let mut state = 0.0;
        let mut innovation = |((value, gain), weight): ((&f64, &f64), &f64)| {
            let surprise = value - state;
            state += gain * surprise;
            surprise * weight
        };
        function.iter().zip(&self.gain).zip(&self.weight).map(&mut innovation).collect()
    }

    fn scale_of(&self, u: &[f64], ramp: Ramp) -> f64 {
        let width = u[ramp.end] - u[ramp.start];
        let shape: Vec<f64> = u.iter().map(|at| ((at - u[ramp.start]) / width).clamp(0.0, 1.0)).collect();
        let mut shape = self.whiten(&shape);
        for function in &self.base {
            remove(&mut shape, function);
        }
        1.0 / (dot(&shape, &shape).sqrt() * width)
    }
}

/// Gram-Schmidt, twice: near-parallel functions (a short span of steps) keep their directions. With it the squared
/// lengths that each function adds.
fn orthonormal(functions: Vec<Vec<f64>>) -> (Vec<Vec<f64>>, Vec<f64>) {
    let (mut base, mut squares): (Vec<Vec<f64>>, _) = (Vec::new(), Vec::new());
    for mut function in functions {
        let length = dot(&function, &function).sqrt();
        for _ in 0..2 {
            for other in &base {
                remove(&mut function, other);
            }
        }
        let rest = dot(&function, &function).sqrt();
        // What is left of a function that the others span already is rounding.
        if rest > 1e-9 * length {
            function.iter_mut().for_each(|value| *value /= rest);
            base.push(function);
            squares.push(rest * rest);
        }
    }
    (base, squares)
}

/// Takes out what lies along a function of length 1.
pub(super) fn remove(function: &mut [f64], unit: &[f64]) {
    let part = dot(function, unit);
    function.iter_mut().zip(unit).for_each(|(value, along)| *value -= part * along);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thirty() -> Vec<f64> {
        (0..30).map(|index| 10.0 * 1.2_f64.powi(index)).collect()
    }

    #[test]
    fn the_base_is_orthonormal_and_spans_its_functions() {
        let steps = thirty();
        let grid = Grid::new(&steps).unwrap();
        for level in &grid.levels {
            assert_eq!(level.base.len(), 4);
            for (i, a) in level.base.iter().enumerate() {
                for (j, b) in level.base.iter().enumerate() {
                    assert!((dot(a, b) - f64::from(i == j)).abs() < 1e-12);
                }
            }
            let decay: Vec<f64> = steps.iter().map(|step| 3.0 + 0.7 * step.log10() - 5.0 / step.sqrt()).collect();
            let mut rest = level.whiten(&decay);
            for function in &level.base {
                remove(&mut rest, function);
            }
            assert!(rest.iter().all(|value| value.abs() < 1e-12));
        }
    }

    #[test]
    fn whitening_makes_wander_and_noise_the_identity() {
        // Σ = 1 + wander · min(u_s, u_t) from the first checkpoint on; W Σ W' = 1, column by column.
        let grid = Grid::new(&thirty()).unwrap();
        for (level, wander) in grid.levels.iter().zip(WANDER) {
            let n = grid.u.len();
            let covariance = |s: usize, t: usize| f64::from(s == t) + wander * (grid.u[s].min(grid.u[t]) - grid.u[0]);
            // Both are symmetric: rows of W (W Σ)' = W Σ W'.
            let columns = |of: &dyn Fn(usize) -> Vec<f64>| (0..n).map(of).collect::<Vec<_>>();
            let half = columns(&|s| level.whiten(&(0..n).map(|t| covariance(s, t)).collect::<Vec<_>>()));
            let whole = columns(&|t| level.whiten(&half.iter().map(|row| row[t]).collect::<Vec<_>>()));
            for (t, column) in whole.iter().enumerate() {
                for (s, value) in column.iter().enumerate() {
                    assert!((value - f64::from(s == t)).abs() < 1e-10, "{wander} {s} {t} {value}");
                }
            }
        }
    }

    #[test]
    fn ramps_have_the_widths_asked_for_and_leave_flanks() {
        let grid = Grid::new(&thirty()).unwrap();
        // log10(1.2) = 0.079: widths of 1, 2, 4 and 8 checkpoints.
        let from_ten: Vec<usize> =
            grid.ramps.iter().filter(|ramp| ramp.start == 10).map(|ramp| ramp.end - 10).collect();
        assert_eq!(from_ten, [1, 2, 4, 8]);
        assert!(grid.ramps.iter().all(|ramp| ramp.start + 1 >= FLANK && ramp.end + FLANK <= 30));
    }

    #[test]
    fn steps_that_cannot_be_scanned_are_refused() {
        assert!(Grid::new(&thirty()[..15]).unwrap_err().to_string().contains("at least 16"));
        let mut steps = thirty();
        steps[7] = steps[6];
        assert!(Grid::new(&steps).unwrap_err().to_string().contains("at checkpoint 7"));
        steps[0] = 0.0;
        assert!(Grid::new(&steps).unwrap_err().to_string().contains("above 0 at checkpoint 0"));
    }
}
