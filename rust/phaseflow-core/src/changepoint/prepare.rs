//! A signal as its cost sees it: in a unit of its own, as ranks, as directions, or as it is.

use ndarray::{Array2, ArrayView2};

use super::centred::{Unit, centre};
use super::linear_algebra::orthonormalise;
use super::names::CostName;
use crate::{Error, Result};

/// The signal, and the unit its values are in.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) signal: Array2<f64>,
    pub(crate) unit: Unit,
}

/// Counts of which twice the log-likelihood is good to a hundredth.
const LARGEST_TOTAL: f64 = 1_099_511_627_776.0;

/// Checks what only this cost asks of a signal, and changes it where the cost is the cost l2 of something else.
pub(crate) fn prepare(cost: CostName, signal: ArrayView2<'_, f64>) -> Result<Prepared> {
    let plain = Unit { size: 1.0, resolution: 0.0 };
    match cost {
        CostName::Poisson => {
            if let Some(((sample, feature), value)) = signal.indexed_iter().find(|(_, value)| **value < 0.0) {
                return Err(Error::OutOfRange {
                    argument: "signal",
                    expected: "counts, 0 or above, for cost \"poisson\"".into(),
                    got: format!("{value} at [{sample}, {feature}]"),
                });
            }
            let total: f64 = signal.iter().filter(|value| !value.is_nan()).sum();
            if total > LARGEST_TOTAL {
                return Err(Error::OutOfRange {
                    argument: "signal",
                    expected:
                        "counts that add up to at most 2^40 for cost \"poisson\", beyond which double precision loses \
                               the differences of its costs; so many are normal"
                            .into(),
                    got: format!("{total:e}"),
                });
            }
            Ok(Prepared { signal: signal.to_owned(), unit: plain })
        }
        CostName::Rank => Ok(Prepared { signal: whitened_ranks(signal), unit: plain }),
        CostName::Cosine => Ok(Prepared { signal: directions(signal)?, unit: plain }),
        _ => {
            let mut signal = signal.to_owned();
            let unit = centre(signal.view_mut());
            Ok(Prepared { signal, unit })
        }
    }
}

/// Ranks of each feature, ties sharing theirs, centred, in coordinates in which they are uncorrelated with variance 1.
/// A feature that is constant, or a combination of others, adds nothing.
fn whitened_ranks(signal: ArrayView2<'_, f64>) -> Array2<f64> {
    let n_samples = signal.nrows();
    let ranks = signal.columns().into_iter().map(|y| {
        let mut order: Vec<usize> = (0..n_samples).collect();
        order.sort_by(|&a, &b| y[a].total_cmp(&y[b]));
        let mut ranks = vec![0.0; n_samples];
        for tied in order.chunk_by(|&a, &b| y[a] == y[b]) {
            let below = order.partition_point(|&index| y[index] < y[tied[0]]);
            let shared = below as f64 + 0.5 * (tied.len() - 1) as f64 - 0.5 * (n_samples - 1) as f64;
            tied.iter().for_each(|&index| ranks[index] = shared);
        }
        ranks
    });
    let (basis, _) = orthonormalise(ranks.collect());
    let scale = (n_samples.saturating_sub(1) as f64).sqrt();
    Array2::from_shape_fn((n_samples, basis.len().max(1)), |(sample, feature)| {
        basis.get(feature).map_or(0.0, |column| scale * column[sample])
    })
}

/// Samples over their lengths.
fn directions(signal: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    let mut found = signal.to_owned();
    for (sample, mut row) in found.rows_mut().into_iter().enumerate() {
        // In units of the largest, whose square is 1.
        let largest = row.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        if largest == 0.0 {
            return Err(Error::OutOfRange {
                argument: "signal",
                expected: "not all 0 at any sample, for cost \"cosine\"".into(),
                got: format!("0 at sample {sample}"),
            });
        }
        row.mapv_inplace(|value| value / largest);
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        row.mapv_inplace(|value| value / length);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::prepare;
    use crate::changepoint::names::CostName;

    #[test]
    fn ranks_share_ties_and_have_variance_one() {
        // Ranks 0.5, 3, 0.5, 2 less 1.5: -1, 1.5, -1, 0.5 with sum of squares 4.5.
        let found = prepare(CostName::Rank, array![[1.0], [9.0], [1.0], [2.0]].view()).unwrap().signal;
        let scale = (3.0_f64 / 4.5).sqrt();
        for (value, expected) in found.iter().zip([-1.0, 1.5, -1.0, 0.5]) {
            assert!((value - scale * expected).abs() < 1e-15);
        }
    }

    #[test]
    fn what_a_cost_cannot_take_is_named() {
        let error = |cost, y: ndarray::Array2<f64>| prepare(cost, y.view()).unwrap_err().to_string();
        assert!(error(CostName::Poisson, array![[1.0], [-2.0]]).contains("-2 at [1, 0]"));
        assert!(error(CostName::Poisson, array![[1e300], [1.0]]).contains("1e300"));
        assert!(prepare(CostName::Poisson, array![[1e9], [f64::NAN]].view()).is_ok());
        assert!(error(CostName::Cosine, array![[1.0, 1.0], [0.0, 0.0]]).contains("0 at sample 1"));
    }
}
