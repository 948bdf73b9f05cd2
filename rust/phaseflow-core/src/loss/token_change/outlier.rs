//! Single checkpoints that are far off, drawn in before a trajectory is searched for a break.
//!
//! A random walk that goes up by far and down again at the next checkpoint is better explained by a break at one of
//! the two, so that in noise with heavy tails lone checkpoints pass for breaks, or, where the null distribution knows
//! those tails, hide the true ones. What lies further than [`LIMIT`] from the median of itself and two checkpoints to
//! either side is moved to that distance: Hampel's identifier (Hampel 1974), Winsorised. A step, a ramp and whatever
//! lasts three checkpoints keep their shape, because a running median does. Next to the ends it is of three checkpoints, at
//! the ends Tukey's, with the line through the medians beside it (Tukey 1977, *Exploratory Data Analysis*, chapter 7).
//! All this is done to what the smooth base leaves, so that a smooth course changes nothing.

use super::grid::Grid;
use super::strip::{LANES, Lanes, Strip, remove_along};

/// How far from the median is far, in mean distances: 1 in 100 of normal noise.
const LIMIT: f64 = 4.0;
/// Distances beyond so many means count as this many in the mean that is used: few far ones hardly change it.
const COUNTED: f64 = 3.0;

impl Grid {
    /// Leaves in `strip.y` what the smooth base leaves of it, with what is far off drawn in; NaN where anything is NaN
    /// or infinite. `strip.q` holds the running medians then.
    #[inline(always)]
    pub(super) fn draw_in(&self, strip: &mut Strip) {
        let Strip { y, q: medians, .. } = strip;
        for function in &self.base {
            remove_along(y, function);
        }
        let last = y.len() - 1;
        medians[1] = median_of_three(&y[0], &y[1], &y[2]);
        for at in 2..last - 1 {
            medians[at] = median_of_five(&y[at - 2..at + 3]);
        }
        medians[last - 1] = median_of_three(&y[last - 2], &y[last - 1], &y[last]);
        medians[0] = median_at_the_end(&y[0], &medians[1], &medians[2]);
        medians[last] = median_at_the_end(&y[last], &medians[last - 1], &medians[last - 2]);
        let mut mean = [f64::INFINITY; LANES];
        for most in [f64::INFINITY, COUNTED] {
            let limit = mean.map(|mean| if most < f64::INFINITY { most * mean } else { f64::INFINITY });
            mean = [0.0; LANES];
            for ((y, median), noise) in y.iter().zip(medians.iter()).zip(&self.noise) {
                let unit = 1.0 / noise.sqrt();
                for lane in 0..LANES {
                    let distance = (y[lane] - median[lane]).abs() * unit;
                    mean[lane] += if distance > limit[lane] { limit[lane] } else { distance };
                }
            }
            mean.iter_mut().for_each(|sum| *sum /= (last + 1) as f64);
        }
        for ((y, median), noise) in y.iter_mut().zip(medians.iter()).zip(&self.noise) {
            let unit = LIMIT * noise.sqrt();
            for lane in 0..LANES {
                let (low, high) = (median[lane] - unit * mean[lane], median[lane] + unit * mean[lane]);
                y[lane] = if y[lane] < low { low } else { y[lane] };
                y[lane] = if y[lane] > high { high } else { y[lane] };
            }
        }
    }
}

#[inline(always)]
fn median_of_three(a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
    std::array::from_fn(|lane| larger(smaller(a[lane], b[lane]), smaller(larger(a[lane], b[lane]), c[lane])))
}

/// The median of the last value, the running median beside it, and what the line through the nearest two foretells.
#[inline(always)]
fn median_at_the_end(end: &Lanes, beside: &Lanes, next: &Lanes) -> Lanes {
    let foretold = std::array::from_fn(|lane| 3.0 * beside[lane] - 2.0 * next[lane]);
    median_of_three(end, beside, &foretold)
}

/// The median of the fifth with the larger of two smaller ones and the smaller of two larger ones.
#[inline(always)]
fn median_of_five(rows: &[Lanes]) -> Lanes {
    let (mut low, mut high) = ([0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        let (a, b, c, d) = (rows[0][lane], rows[1][lane], rows[2][lane], rows[3][lane]);
        low[lane] = larger(smaller(a, b), smaller(c, d));
        high[lane] = smaller(larger(a, b), larger(c, d));
    }
    median_of_three(&low, &high, &rows[4])
}

#[inline(always)]
fn smaller(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        Grid::new(&(1..=20).map(f64::from).collect::<Vec<_>>()).unwrap()
    }

    fn drawn_in_on(grid: &Grid, first: &[f64; 20]) -> Vec<f64> {
        let mut strip = Strip::new(20);
        strip.y = first.iter().map(|&value| [value; LANES]).collect();
        grid.draw_in(&mut strip);
        strip.y.iter().map(|row| row[LANES - 1]).collect()
    }

    /// Without a base: of what is given.
    fn drawn_in(first: &[f64; 20]) -> Vec<f64> {
        let mut grid = grid();
        grid.base.clear();
        drawn_in_on(&grid, first)
    }

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    #[test]
    fn a_median_is_that_of_the_sorted_numbers() {
        // Every order of five different numbers, as digits in base 5.
        for code in 0..3125_usize {
            let digits: [usize; 5] = std::array::from_fn(|place| code / 5_usize.pow(place as u32) % 5);
            let rows = digits.map(|digit| [digit as f64; LANES]);
            let (mut five, mut three) = (digits, [digits[0], digits[1], digits[2]]);
            five.sort_unstable();
            three.sort_unstable();
            assert_eq!(median_of_five(&rows)[0], five[2] as f64);
            assert_eq!(median_of_three(&rows[0], &rows[1], &rows[2])[0], three[1] as f64);
        }
    }

    #[test]
    fn a_lone_checkpoint_is_drawn_in_to_four_mean_distances() {
        // 0 and 1 in turn, but 40 for 1 at checkpoint 9.
        let mut y: [f64; 20] = std::array::from_fn(|at| (at % 2) as f64);
        y[9] = 40.0;
        let found = drawn_in(&y);
        let medians: Vec<f64> = (0..20_usize)
            .map(|at| {
                let reach = at.min(19 - at).min(2);
                let mut around = y[at - reach..=at + reach].to_vec();
                around.sort_unstable_by(f64::total_cmp);
                around[reach]
            })
            .collect();
        let distances: Vec<f64> = y.iter().zip(&medians).map(|(y, median)| (y - median).abs()).collect();
        let mean = distances.iter().sum::<f64>() / 20.0;
        let mean = distances.iter().map(|distance| distance.min(3.0 * mean)).sum::<f64>() / 20.0;
        assert!((found[9] - (medians[9] + 4.0 * mean)).abs() < 1e-12, "{} {mean}", found[9]);
        let others: Vec<usize> = (0..20).filter(|&at| at != 9).collect();
        assert!(others.iter().all(|&at| found[at] == y[at]));
    }

    #[test]
    fn what_is_far_off_at_an_end_or_beside_it_is_drawn_in_too() {
        // 40 before 1 and 0 in turn: the medians beside it are 1 and 1, so is the end's. The distances are 39 and, of the
        // zeros at 2 and 18, 1 and 1: mean 2.05, with 39 as 6.15 a mean of 0.4075, four of which lie above 1.
        // 40 between 0 and 0: the median is 0; the distances are 40 and 1, their mean 2.05, then 0.3575.
        for (place, expected) in [(0, 2.63), (1, 1.43)] {
            let mut y: [f64; 20] = std::array::from_fn(|at| (at % 2) as f64);
            y[place] = 40.0;
            let mut expected_of_all = y;
            expected_of_all[place] = expected;
            assert!(close(&drawn_in(&y), &expected_of_all));
            y.reverse();
            expected_of_all.reverse();
            assert!(close(&drawn_in(&y), &expected_of_all));
        }
    }

    #[test]
    fn only_the_shape_of_the_noise_counts() {
        let mut y: [f64; 20] = std::array::from_fn(|at| (at % 2) as f64);
        y[9] = 40.0;
        let louder = grid().with_noise(&[4.0; 20]).unwrap();
        assert!(close(&drawn_in_on(&grid(), &y), &drawn_in_on(&louder, &y)));
    }

    #[test]
    fn a_smooth_course_changes_nothing() {
        let mut y: [f64; 20] = std::array::from_fn(|at| (at % 2) as f64);
        y[9] = 40.0;
        let risen = std::array::from_fn(|at| y[at] + 30.0 * (at as f64 + 1.0).ln() - 7.0);
        assert!(close(&drawn_in_on(&grid(), &y), &drawn_in_on(&grid(), &risen)));
    }

    #[test]
    fn steps_ramps_and_undefined_losses_stay() {
        let step: [f64; 20] = std::array::from_fn(|at| f64::from(at >= 12));
        assert_eq!(drawn_in(&step), step);
        let ramp: [f64; 20] = std::array::from_fn(|at| (at as f64).min(13.0));
        assert_eq!(drawn_in(&ramp), ramp);
        let mut bump = [0.0; 20];
        bump[8..11].fill(1.0);
        assert_eq!(drawn_in(&bump), bump);
        for undefined in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut y = step;
            y[5] = undefined;
            let found = drawn_in(&y);
            assert!(found[5] == undefined || found[5].is_nan());
        }
    }
}
