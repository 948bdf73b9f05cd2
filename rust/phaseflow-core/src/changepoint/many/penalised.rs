//! The cheapest segmentation of every series, on all threads.
//!
//! The cost l2 of one feature with segments of any size runs in memory that a thread keeps from series to series; all
//! else goes through [`detect`](crate::changepoint::detect), series by series.

use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use super::series::{Present, Series};
use crate::changepoint::centred::{Unit, centre};
use crate::changepoint::names::{CostName, SearchName};
use crate::changepoint::noise::{Differences, Lasting};
use crate::changepoint::penalty::{Penalty, Worth, level_differences, variance_of};
use crate::changepoint::request::Request;
use crate::changepoint::search::{Envelope, Shape, functional};
use crate::changepoint::segmentation::detect;
use crate::changepoint::significance::LargestChanges;
use crate::tensor::Element;
use crate::{Cancel, Error, Result};

/// Series that one thread takes at a time.
const BLOCK: usize = 64;

/// A changepoint of one of many series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Which series.
    pub series: usize,
    /// First sample of the new segment.
    pub changepoint: usize,
    /// Mean of the segment before it; of the first feature where there are several.
    pub before: f64,
    /// Mean of its own segment.
    pub after: f64,
    /// Length of the difference of the two means over all features; their difference where there is one.
    pub size: f64,
    /// Probability of a change this clear between its neighbours where there is none; NaN for costs other than l2 and
    /// for several features.
    pub p_value: f64,
}

/// What a thread keeps.
#[derive(Default)]
struct Memory {
    present: Present,
    x: Vec<f64>,
    scaled: Vec<f64>,
    differences: Vec<f64>,
    lags: Differences,
    envelope: Envelope,
}

/// The changepoints of every series, by series and sample. `x` is one axis for all rows, or for all pieces on end.
pub fn detect_many<'a, E: Element>(
    series: Series<'a, E>,
    x: &'a [f64],
    request: Request,
    cancel: &Cancel,
) -> Result<Vec<Change>> {
    series.check()?;
    request.check_parameters()?;
    let search = request.resolve(series.features())?;
    let batch = Batch { series, x, request, bounds: LargestChanges::up_to(series.longest(), request.min_size) };
    let quick = search == SearchName::Functional && request.cost == CostName::L2 && request.shape == Shape::Any;
    let blocks: Vec<Vec<Change>> = (0..series.len().div_ceil(BLOCK))
        .into_par_iter()
        .map_init(Memory::default, |memory, block| {
            cancel.check()?;
            let mut found = Vec::new();
            for index in block * BLOCK..((block + 1) * BLOCK).min(series.len()) {
                series.read(index, &mut memory.present)?;
                let changepoints =
                    if quick { batch.levels(memory, cancel)? } else { batch.general(index, memory, cancel)? };
                batch.describe(index, &memory.present, &changepoints, &mut found);
            }
            Ok(found)
        })
        .collect::<Result<_>>()?;
    Ok(blocks.into_iter().flatten().collect())
}

struct Batch<'a, E> {
    series: Series<'a, E>,
    x: &'a [f64],
    request: Request,
    bounds: LargestChanges,
}

impl<E: Element> Batch<'_, E> {
    /// Changes of level of one feature, as indices of the samples that are there.
    fn levels(&self, memory: &mut Memory, cancel: &Cancel) -> Result<Vec<usize>> {
        let Memory { present, scaled, differences, lags, envelope, .. } = memory;
        let n_samples = present.values.len();
        if n_samples < 2 {
            return Ok(Vec::new());
        }
        scaled.clear();
        scaled.extend(&present.values);
        let Ok(column) = ArrayViewMut2::from_shape((n_samples, 1), scaled) else { return Ok(Vec::new()) };
        let Unit { size, resolution } = centre(column);
        let price = self.request.price(1, n_samples, size, || {
            differences.clear();
            differences.extend(level_differences(scaled));
            let variance = variance_of(differences).variance.max(resolution * resolution);
            if self.request.penalty != Penalty::Auto {
                return Worth::known(variance);
            }
            let Lasting { long_run, freedom, bound, .. } = lags.lasting(&[], scaled, false);
            Worth { unit: long_run.max(variance), freedom, bound }
        });
        functional(scaled, price, envelope, cancel)
    }

    fn general(&self, index: usize, memory: &mut Memory, cancel: &Cancel) -> Result<Vec<usize>> {
        let Memory { present, x, .. } = memory;
        let n_samples = present.at.len();
        let count = self.request.n_changepoints;
        if n_samples < 2 * self.request.min_size && count.unwrap_or(0) == 0 {
            return Ok(Vec::new());
        }
        if n_samples == 0 {
            return Err(Error::OutOfRange {
                argument: "n_changepoints",
                expected: format!("0 for series {index}, which has a NaN at every sample: leave that series out"),
                got: count.unwrap_or(0).to_string(),
            });
        }
        if self.request.cost == CostName::Autoregressive
            && let Some(gap) = present.at.windows(2).find(|pair| pair[1] > pair[0] + 1)
        {
            return Err(Error::NotFinite {
                argument: "signals",
                index: format!("{index}, {} (cost \"ar\" predicts each sample from those before it)", gap[0] + 1),
                value: f64::NAN,
            });
        }
        let start = self.series.axis_start(index);
        x.clear();
        x.extend(present.at.iter().map(|&sample| self.x[start + sample]));
        let named = |error| match error {
            Error::OutOfRange { argument, expected, got } => {
                Error::OutOfRange { argument, expected: format!("{expected} (series {index})"), got }
            }
            error => error,
        };
        let signal = ArrayView2::from_shape((n_samples, self.series.features()), &present.values);
        signal.map_or(Ok(Vec::new()), |signal| Ok(detect(x, signal, self.request, cancel).map_err(named)?.changepoints))
    }

    /// What lies on either side of each changepoint, and how clear it is between its neighbours.
    fn describe(&self, series: usize, present: &Present, changepoints: &[usize], found: &mut Vec<Change>) {
        let features = self.series.features();
        let n_samples = present.at.len();
        let mut start = 0;
        for (index, &changepoint) in changepoints.iter().enumerate() {
            let end = changepoints.get(index + 1).copied().unwrap_or(n_samples);
            let mean = |from: usize, to: usize, feature: usize| {
                let origin = present.values[from * features + feature];
                let samples = (from..to).map(|sample| present.values[sample * features + feature] - origin);
                origin + samples.sum::<f64>() / (to - from) as f64
            };
            let (before, after) = (mean(start, changepoint, 0), mean(changepoint, end, 0));
            let length = || {
                let steps = (0..features).map(|f| mean(changepoint, end, f) - mean(start, changepoint, f));
                steps.map(|step| step * step).sum::<f64>().sqrt()
            };
            let tested = features == 1 && self.request.cost == CostName::L2;
            found.push(Change {
                series,
                changepoint: present.at[changepoint],
                before,
                after,
                size: if features == 1 { after - before } else { length() },
                p_value: if tested {
                    let left = share_left(&present.values[start..end], changepoint - start, before, after);
                    self.bounds.of(end - start).two_sided(left)
                } else {
                    f64::NAN
                },
            });
            start = changepoint;
        }
    }
}

/// The part of the squared deviations from one mean that two means leave.
pub(crate) fn share_left(y: &[f64], changepoint: usize, before: f64, after: f64) -> f64 {
    let (count, first, second) = (y.len() as f64, changepoint as f64, (y.len() - changepoint) as f64);
    // In units of the step, which neither overflows nor vanishes.
    let step = (after - before).abs();
    if step == 0.0 {
        return 1.0;
    }
    let squares = |y: &[f64], mean: f64| y.iter().map(|y| ((y - mean) / step).powi(2)).sum::<f64>();
    let left = squares(&y[..changepoint], before) + squares(&y[changepoint..], after);
    left / (left + first * second / count)
}
