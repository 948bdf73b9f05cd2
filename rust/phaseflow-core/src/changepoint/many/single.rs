//! The one clearest change of level of every series, with its p-value: for millions of short series.
//!
//! With the mean `m` of all n samples and the sum `S_k` of the first k, a change after k samples explains
//! `(S_k - k m)^2 n / (k (n - k))` of the squared deviations. That is a running sum and a maximum, so a block of series
//! is laid out sample by sample with the series side by side, and each instruction works on several of them. A
//! series with a missing sample, or with squares outside the range of doubles, goes through the same steps alone.

use ndarray::{ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::penalised::share_left;
use super::series::{Present, Series};
use crate::changepoint::centred::{Unit, centre};
use crate::changepoint::significance::{LargestChange, LargestChanges};
use crate::tensor::Element;
use crate::vectorize::vectorize;
use crate::{Cancel, Error, Result};

/// Series side by side; 200 samples of them fill half a megabyte of cache at most.
const LANES: usize = 64;

/// Where a change leaves less than this of the squares, what is left is summed up by itself.
const CANCELLED: f64 = 1e-6;

/// Which changes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Either way.
    Any,
    /// From a higher to a lower level.
    Down,
    /// From a lower to a higher level.
    Up,
}

impl Direction {
    const NAMED: [(&'static str, Self); 3] = [("any", Self::Any), ("down", Self::Down), ("up", Self::Up)];

    /// The direction named `"any"`, `"down"` or `"up"`.
    pub fn from_name(name: &str) -> Result<Self> {
        super::super::names::lookup("direction", name, &Self::NAMED)
    }
}

/// The clearest change of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Single {
    /// First sample of the second segment.
    pub changepoint: usize,
    /// Mean of the first segment.
    pub before: f64,
    /// Mean of the second.
    pub after: f64,
    /// Probability of a change this clear, in a direction that counts, where there is none.
    pub p_value: f64,
}

/// The clearest change of every series with at least `min_size` samples on either side; `None` where a series is too
/// short or has no change in that direction.
pub fn single_change<E: Element>(
    series: Series<'_, E>,
    direction: Direction,
    min_size: usize,
    cancel: &Cancel,
) -> Result<Vec<Option<Single>>> {
    series.check()?;
    if min_size == 0 {
        return Err(Error::OutOfRange { argument: "min_size", expected: "at least 1".into(), got: "0".into() });
    }
    if series.features() != 1 {
        return Err(Error::Unsupported {
            what: format!("search \"single\" is for one feature, signals have {}", series.features()),
            next: "pass one feature at a time, or search=\"auto\"".into(),
        });
    }
    let bounds = LargestChanges::up_to(series.longest(), min_size);
    let search = Search { direction, min_size, bounds };
    let mut found = vec![None; series.len()];
    found.par_chunks_mut(LANES).enumerate().try_for_each_init(
        || (Lanes::new(series.longest()), Alone::default()),
        |(lanes, memory), (block, found)| {
            cancel.check()?;
            let first = block * LANES;
            if let Series::Rows(rows) = series
                && rows.len_of(Axis(1)) >= 2 * min_size
            {
                let rows = rows.slice(s![first..first + found.len(), .., 0]);
                vectorize(
                    #[inline(always)]
                    || {
                        lanes.fill(rows);
                        lanes.search(direction, min_size);
                    },
                );
                let bound = search.bounds.of(rows.len_of(Axis(1)));
                for (lane, found) in found.iter_mut().enumerate() {
                    *found = match lanes.outcome(lane) {
                        Outcome::Change { changepoint, before, after, left } => {
                            Some(Single { changepoint, before, after, p_value: search.p_value(bound, left) })
                        }
                        Outcome::None => None,
                        Outcome::Alone => search.alone(series, first + lane, memory)?,
                    };
                }
            } else {
                for (lane, found) in found.iter_mut().enumerate() {
                    *found = search.alone(series, first + lane, memory)?;
                }
            }
            Ok(())
        },
    )?;
    Ok(found)
}

struct Search {
    direction: Direction,
    min_size: usize,
    bounds: LargestChanges,
}

impl Search {
    fn p_value(&self, bound: &LargestChange, left: f64) -> f64 {
        match self.direction {
            Direction::Any => bound.two_sided(left),
            Direction::Down | Direction::Up => bound.one_sided(left),
        }
    }

    /// One series with missing samples or extreme values.
    fn alone<E: Element>(&self, series: Series<'_, E>, index: usize, memory: &mut Alone) -> Result<Option<Single>> {
        let Alone { present, scaled } = memory;
        series.read(index, present)?;
        let n_samples = present.values.len();
        if n_samples < 2 * self.min_size {
            return Ok(None);
        }
        scaled.clear();
        scaled.extend(&present.values);
        let Ok(column) = ArrayViewMut2::from_shape((n_samples, 1), scaled) else { return Ok(None) };
        let Unit { size, .. } = centre(column);
        // Centred: the running sum is the distance from its expectation.
        let rest = scaled.iter().sum::<f64>() / n_samples as f64;
        let (mut sum, mut best, mut changepoint) = (0.0, 0.0, 0);
        for k in 1..=n_samples - self.min_size {
            sum += scaled[k - 1] - rest;
            let gain = signed(self.direction, sum).max(0.0).powi(2) / (k as f64 * (n_samples - k) as f64);
            if k >= self.min_size && gain > best {
                (best, changepoint) = (gain, k);
            }
        }
        if changepoint == 0 {
            return Ok(None);
        }
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (before, after) = (mean(&scaled[..changepoint]), mean(&scaled[changepoint..]));
        let left = share_left(scaled, changepoint, before, after);
        // The first sample is where the scaled series has its own value.
        let origin = present.values[0] - scaled[0] * size;
        Ok(Some(Single {
            changepoint: present.at[changepoint],
            before: origin + before * size,
            after: origin + after * size,
            p_value: self.p_value(self.bounds.of(n_samples), left),
        }))
    }
}

/// Memory for a series that does not go with the others.
#[derive(Default)]
struct Alone {
    present: Present,
    scaled: Vec<f64>,
}

#[inline(always)]
fn signed(direction: Direction, excess: f64) -> f64 {
    match direction {
        Direction::Any => excess.abs(),
        Direction::Down => excess,
        Direction::Up => -excess,
    }
}

enum Outcome {
    Change { changepoint: usize, before: f64, after: f64, left: f64 },
    None,
    Alone,
}

/// A block of series, sample by sample.
struct Lanes {
    samples: Vec<[f64; LANES]>,
    origin: [f64; LANES],
    total: [f64; LANES],
    squares: [f64; LANES],
    gain: [f64; LANES],
    sum_before: [f64; LANES],
    changepoint: [f64; LANES],
}

impl Lanes {
    fn new(n_samples: usize) -> Self {
        let zero = [0.0; LANES];
        Self {
            samples: vec![zero; n_samples],
            origin: zero,
            total: zero,
            squares: zero,
            gain: zero,
            sum_before: zero,
            changepoint: zero,
        }
    }

    /// The rows' distances from their first samples. Lanes past the last row keep what they had: nobody looks there.
    #[expect(clippy::needless_range_loop, reason = "several arrays share the lane")]
    #[inline(always)]
    fn fill<E: Element>(&mut self, rows: ndarray::ArrayView2<'_, E>) {
        if rows.strides()[0].abs() <= rows.strides()[1].abs() {
            for (samples, column) in self.samples.iter_mut().zip(rows.columns()) {
                match column.as_slice() {
                    Some(column) => samples.iter_mut().zip(column).for_each(|(to, from)| *to = from.to_f64()),
                    None => samples.iter_mut().zip(column).for_each(|(to, from)| *to = from.to_f64()),
                }
            }
        } else {
            for (lane, row) in rows.rows().into_iter().enumerate() {
                self.samples.iter_mut().zip(row).for_each(|(samples, value)| samples[lane] = value.to_f64());
            }
        }
        self.origin = self.samples[0];
        self.total = [0.0; LANES];
        for samples in &mut self.samples {
            for lane in 0..LANES {
                samples[lane] -= self.origin[lane];
                self.total[lane] += samples[lane];
            }
        }
    }

    #[expect(clippy::needless_range_loop, reason = "several arrays share the lane")]
    #[inline(always)]
    fn search(&mut self, direction: Direction, min_size: usize) {
        let n_samples = self.samples.len();
        let n = n_samples as f64;
        let mean = self.total.map(|total| total / n);
        let mut sum = [0.0; LANES];
        self.squares = [0.0; LANES];
        self.gain = [0.0; LANES];
        self.changepoint = [0.0; LANES];
        for (k, samples) in (1..).zip(&self.samples) {
            for lane in 0..LANES {
                let distance = samples[lane] - mean[lane];
                self.squares[lane] += distance * distance;
                sum[lane] += distance;
            }
            if k < min_size || k + min_size > n_samples {
                continue;
            }
            let place = k as f64;
            let weight = n / (place * (n - place));
            for lane in 0..LANES {
                let excess = signed(direction, sum[lane]).max(0.0);
                let gain = excess * excess * weight;
                let better = gain > self.gain[lane];
                self.gain[lane] = if better { gain } else { self.gain[lane] };
                self.sum_before[lane] = if better { sum[lane] } else { self.sum_before[lane] };
                self.changepoint[lane] = if better { place } else { self.changepoint[lane] };
            }
        }
    }

    fn outcome(&self, lane: usize) -> Outcome {
        let squares = self.squares[lane];
        if squares == 0.0 && self.samples.iter().all(|samples| samples[lane] == 0.0) {
            return Outcome::None;
        }
        if !(squares.is_normal() && (1e-200..1e200).contains(&squares)) {
            return Outcome::Alone;
        }
        let place = self.changepoint[lane];
        if place == 0.0 {
            return Outcome::None;
        }
        let left = 1.0 - self.gain[lane] / squares;
        if left < CANCELLED {
            return Outcome::Alone;
        }
        let n = self.samples.len() as f64;
        let mean = self.total[lane] / n;
        let (before, after) = (self.sum_before[lane] / place, -self.sum_before[lane] / (n - place));
        Outcome::Change {
            changepoint: place as usize,
            before: self.origin[lane] + (mean + before),
            after: self.origin[lane] + (mean + after),
            left,
        }
    }
}
