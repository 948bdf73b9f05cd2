//! The scan of a few tokens side by side, one vector lane each.

use super::grid::{Grid, Level};

/// Tokens side by side.
pub(super) const LANES: usize = 16;
/// Loss, in nats, below which differences hardly count.
const FLOOR: f64 = 0.001;

/// One number for each token of a strip.
pub(super) type Lanes = [f64; LANES];

/// What the scan of a strip finds, for each of its tokens.
pub(super) struct Found {
    /// Twice the gain in log likelihood by the best ramp; NaN for a token with an undefined loss.
    pub(super) statistic: Lanes,
    /// The index of that ramp, as a number.
    pub(super) ramp: Lanes,
    /// Its height on the scale of the odds, in standard errors; negative for a fall.
    pub(super) height: Lanes,
    /// Which of `WANDER` is likeliest beside that ramp, as a number.
    pub(super) wander: Lanes,
}

/// Buffers of one strip, a row a checkpoint.
pub(super) struct Strip {
    /// The trajectories, filled by the caller.
    pub(super) y: Vec<Lanes>,
    /// Their generalised residuals.
    pub(super) q: Vec<Lanes>,
    /// Running sums of those.
    sums: Vec<Lanes>,
}

impl Strip {
    pub(super) fn new(checkpoints: usize) -> Self {
        let zeros = vec![[0.0; LANES]; checkpoints];
        Self { y: zeros.clone(), q: zeros.clone(), sums: zeros }
    }
}

/// `ln(e^loss - 1 + FLOOR)`, the log-odds against the token, softened near a loss of 0; NaN and infinity stay.
#[inline(always)]
pub(super) fn on_odds_scale(loss: f64) -> f64 {
    // Rounding may leave a loss a little below 0.
    let loss = if loss < 0.0 { 0.0 } else { loss };
    loss + (1.0 - (1.0 - FLOOR) * (-loss).exp()).ln()
}

/// Sums of squares below this are rounding: a trajectory inside the base, which is not searched.
const ROUNDING: f64 = 1e-18;

impl Grid {
    /// Finds the best ramp in each trajectory of `strip.y`, whose far checkpoints are drawn in.
    #[inline(always)]
    pub(super) fn scan_strip(&self, strip: &mut Strip) -> Found {
        self.draw_in(strip);
        let freedom = (self.u.len() - self.levels[0].base.len()) as f64;
        let (mut smooth, mut broken) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES]);
        let (mut ramp, mut height, mut wander) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for (index, level) in self.levels.iter().enumerate() {
            let squares = level.residual(strip);
            self.sum_up(strip);
            let (at, gain) = self.best_ramp(&level.scale, &strip.sums);
            for lane in 0..LANES {
                let squares = if squares[lane] < ROUNDING { ROUNDING } else { squares[lane] };
                let without = level.log_determinant + freedom * squares.ln();
                // A drop without any noise leaves nothing: the logarithm stays finite.
                let rest = squares - gain[lane] * gain[lane];
                let rest = if rest < 1e-12 * squares { 1e-12 * squares } else { rest };
                let with = level.log_determinant + freedom * rest.ln();
                smooth[lane] = if without < smooth[lane] || without.is_nan() { without } else { smooth[lane] };
                if with < broken[lane] || with.is_nan() {
                    broken[lane] = with;
                    ramp[lane] = at[lane];
                    wander[lane] = index as f64;
                    height[lane] = gain[lane] / (rest / freedom).sqrt();
                }
            }
        }
        Found { statistic: std::array::from_fn(|lane| smooth[lane] - broken[lane]), ramp, height, wander }
    }

    /// `sums[i] = sum over t > i of (u_t - u_i) q_t`, so that `<q, ramp> = (sums[start] - sums[end]) / width`.
    #[inline(always)]
    fn sum_up(&self, strip: &mut Strip) {
        let mut beyond = [0.0; LANES];
        let mut sum = [0.0; LANES];
        let last = self.u.len() - 1;
        strip.sums[last] = sum;
        for at in (0..last).rev() {
            let gap = self.u[at + 1] - self.u[at];
            let q = &strip.q[at + 1];
            for lane in 0..LANES {
                beyond[lane] += q[lane];
                sum[lane] += gap * beyond[lane];
            }
            strip.sums[at] = sum;
        }
    }

    /// Index and signed root gain of the ramp with the largest gain.
    #[inline(always)]
    fn best_ramp(&self, scale: &[f64], sums: &[Lanes]) -> (Lanes, Lanes) {
        let (mut best, mut height, mut ramp) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for (index, (at, scale)) in self.ramps.iter().zip(scale).enumerate() {
            let (start, end) = (&sums[at.start], &sums[at.end]);
            for lane in 0..LANES {
                let here = (start[lane] - end[lane]) * scale;
                let larger = here.abs() > best[lane];
                best[lane] = if larger { here.abs() } else { best[lane] };
                height[lane] = if larger { here } else { height[lane] };
                ramp[lane] = if larger { index as f64 } else { ramp[lane] };
            }
        }
        (ramp, height)
    }
}

impl Level {
    /// Leaves `Σ⁻¹ (y - smooth)` in `strip.q`; returns the squared length of the whitened residual.
    #[inline(always)]
    fn residual(&self, strip: &mut Strip) -> Lanes {
        let mut state = [0.0; LANES];
        for ((y, q), (gain, weight)) in strip.y.iter().zip(&mut strip.q).zip(self.gain.iter().zip(&self.weight)) {
            for lane in 0..LANES {
                let surprise = y[lane] - state[lane];
                state[lane] += gain * surprise;
                q[lane] = surprise * weight;
            }
        }
        for function in &self.base {
            remove_along(&mut strip.q, function);
        }
        let mut squares = [0.0; LANES];
        let mut adjoint = [0.0; LANES];
        for (q, (gain, weight)) in strip.q.iter_mut().zip(self.gain.iter().zip(&self.weight)).rev() {
            for lane in 0..LANES {
                squares[lane] += q[lane] * q[lane];
                q[lane] = q[lane] * weight + gain * adjoint[lane];
                adjoint[lane] -= q[lane];
            }
        }
        squares
    }
}

/// Takes out what lies along a function of length 1.
#[inline(always)]
pub(super) fn remove_along(rows: &mut [Lanes], unit: &[f64]) {
    let mut part = [0.0; LANES];
    for (row, along) in rows.iter().zip(unit) {
        for lane in 0..LANES {
            part[lane] += row[lane] * along;
        }
    }
    for (row, along) in rows.iter_mut().zip(unit) {
        for lane in 0..LANES {
            row[lane] -= part[lane] * along;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_odds_scale_is_the_log_odds_against_the_token() {
        // A token of probability 1/4 has odds 3 to 1 against it.
        assert!((on_odds_scale(4.0_f64.ln()) - 3.001_f64.ln()).abs() < 1e-12);
        assert!((on_odds_scale(10.0) - 10.0).abs() < 1e-4);
        assert!((on_odds_scale(0.0) - 0.001_f64.ln()).abs() < 1e-12);
        assert_eq!(on_odds_scale(-1e-9), on_odds_scale(0.0));
        assert!(on_odds_scale(f64::NAN).is_nan());
    }

    #[test]
    fn a_drop_without_noise_is_all_of_the_residual() {
        let steps: Vec<f64> = (0..40).map(|index| 10.0 * 1.15_f64.powi(index)).collect();
        let grid = Grid::new(&steps).unwrap();
        let mut strip = Strip::new(steps.len());
        for (index, (row, step)) in strip.y.iter_mut().zip(&steps).enumerate() {
            let smooth = 4.0 + 9.0 * step.powf(-0.5);
            *row = std::array::from_fn(|lane| match lane {
                0 => smooth - f64::from(index >= 22),
                1 => smooth + f64::from(index >= 30),
                2 => f64::NAN,
                _ => smooth,
            });
        }
        let found = grid.scan_strip(&mut strip);
        for (lane, start) in [(0, 21), (1, 29)] {
            let ramp = grid.ramps[found.ramp[lane] as usize];
            assert_eq!((ramp.start, ramp.end), (start, start + 1));
            // Turning points of a course without any noise are drawn in a little.
            assert!(found.statistic[lane] > 100.0, "{lane} {}", found.statistic[lane]);
        }
        assert!(found.height[0] < 0.0 && found.height[1] > 0.0);
        assert!(found.statistic[2].is_nan());
        assert!(found.statistic[3].abs() < 1e-6, "{}", found.statistic[3]);
    }
}
