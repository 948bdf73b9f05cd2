//! In-context learning score: `loss(late) - loss(early)`, each averaged over examples, in nats.
//!
//! Olsson 2022: the 500th token's loss minus the 50th's; negative means that context helps. Token indices are 1-based,
//! as in the paper: the 500th token lies at position 499. The difference is taken example by example, in double
//! precision, so that what an example's difficulty adds to both cancels before anything is rounded.
//!
//! One token an example is a noisy measurement. With a `bandwidth` each of the two becomes the mean over the tokens `j`
//! with `|ln j - ln i| <= bandwidth / 2`, the window of the derivative in `ln(i)`: where the loss is linear in `ln(i)`
//! the score stays what it was, up to the spacing of the integers and the end of the context.

use std::ops::Range;

use ndarray::{ArrayD, ArrayView2};
use rayon::prelude::*;

use super::layout::Layout;
use crate::tensor::{Element, TensorView};
use crate::{Cancel, Error, Result, with_view};

/// The tokens compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InContext {
    /// 1-based index of the early token.
    pub early: usize,
    /// 1-based index of the late token.
    pub late: usize,
    /// Full width, in ln(index), of the window averaged around either; 0 is that token alone.
    pub bandwidth: f64,
}

impl Default for InContext {
    fn default() -> Self {
        Self { early: 50, late: 500, bandwidth: 0.0 }
    }
}

impl InContext {
    /// The positions averaged for the early and for the late token of a context; refuses indices outside it, and
    /// windows with a token in common.
    pub(crate) fn windows(self, context: usize) -> Result<[Range<usize>; 2]> {
        for (argument, index) in [("early", self.early), ("late", self.late)] {
            if index == 0 || index > context {
                return Err(Error::OutOfRange {
                    argument,
                    expected: format!(
                        "a 1-based token index within the context, 1 to {context}; \
                         choose early and late inside it, for example late={context}"
                    ),
                    got: index.to_string(),
                });
            }
        }
        if self.early == self.late {
            return Err(Error::OutOfRange {
                argument: "late",
                expected: format!("a token other than early, which is {}", self.early),
                got: self.late.to_string(),
            });
        }
        if !(self.bandwidth.is_finite() && self.bandwidth >= 0.0) {
            return Err(Error::OutOfRange {
                argument: "bandwidth",
                expected: "a finite number that is not negative".into(),
                got: self.bandwidth.to_string(),
            });
        }
        let reach = (self.bandwidth / 2.0).exp();
        let [early, late] = [self.early, self.late].map(|index| {
            let (first, last) = ((index as f64 / reach).ceil(), (index as f64 * reach).floor());
            (first as usize).max(1) - 1..(last as usize).min(context)
        });
        if early.start < late.end && late.start < early.end {
            return Err(Error::OutOfRange {
                argument: "bandwidth",
                expected: format!("windows around tokens {} and {} that do not meet", self.early, self.late),
                got: self.bandwidth.to_string(),
            });
        }
        Ok([early, late])
    }
}

/// `loss(late) - loss(early)` of every example of `(batch, pos)` losses.
fn late_minus_early<T: Element>(losses: &ArrayView2<'_, T>, windows: &[Range<usize>; 2]) -> Vec<f64> {
    (0..losses.nrows()).map(|example| difference(|pos| losses[[example, pos]].to_f64(), windows)).collect()
}

/// Mean over the late window less mean over the early one, of one example.
pub(super) fn difference(loss: impl Fn(usize) -> f64, [early, late]: &[Range<usize>; 2]) -> f64 {
    let mean = |window: &Range<usize>| window.clone().fold(0.0, |sum, pos| sum + loss(pos)) / window.len() as f64;
    mean(late) - mean(early)
}

/// The score for each index of the leading axes of `per_token_loss`, `(..., batch, pos)`; NaN without examples or if
/// a loss that enters is NaN.
pub fn in_context_learning_score(
    per_token_loss: &TensorView<'_>,
    tokens: InContext,
    cancel: &Cancel,
) -> Result<ArrayD<f64>> {
    let (leading, differences) = differences(per_token_loss, tokens, cancel)?;
    let scores = differences.iter().map(|differences| mean(differences)).collect();
    in_shape(leading, scores)
}

/// The leading axes, and for each of their indices the differences of all examples.
pub(super) fn differences(
    per_token_loss: &TensorView<'_>,
    tokens: InContext,
    cancel: &Cancel,
) -> Result<(Vec<usize>, Vec<Vec<f64>>)> {
    with_view!(per_token_loss, |losses| {
        let layout = Layout::new(losses.view())?;
        let windows = tokens.windows(layout.context)?;
        let differences = layout
            .losses
            .par_iter()
            .map(|losses| {
                cancel.check()?;
                Ok(late_minus_early(losses, &windows))
            })
            .collect::<Result<_>>()?;
        Ok((layout.leading, differences))
    })
}

/// Mean of the differences; NaN of none.
pub(super) fn mean(differences: &[f64]) -> f64 {
    differences.iter().fold(0.0, |sum, difference| sum + difference) / differences.len() as f64
}

/// `values` with the axes `shape`, whose product is their number.
pub(super) fn in_shape(shape: Vec<usize>, values: Vec<f64>) -> Result<ArrayD<f64>> {
    let axes = shape.len();
    ArrayD::from_shape_vec(shape, values).map_err(|_| Error::WrongRank {
        argument: "per_token_loss",
        expected: "(..., batch, pos)",
        got: axes + 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    fn score(early: usize, late: usize) -> Result<f64> {
        windowed(early, late, 0.0)
    }

    fn windowed(early: usize, late: usize, bandwidth: f64) -> Result<f64> {
        let losses = arr2(&[[4.0, 3.0, 1.0], [2.0, 3.0, 2.5]]);
        let view = TensorView::F64(losses.view().into_dyn());
        Ok(in_context_learning_score(&view, InContext { early, late, bandwidth }, &Cancel::new())?[[]])
    }

    #[test]
    fn indices_are_one_based_and_negative_means_that_context_helps() {
        // (1 - 4) and (5/2 - 2): mean -5/4.
        assert_eq!(score(1, 3).unwrap(), -1.25);
        assert_eq!(score(3, 1).unwrap(), 1.25);
    }

    #[test]
    fn a_window_is_averaged_around_either_token() {
        // e^0.35 = 1.42: the third token is averaged with no other (3 / 1.42 = 2.1), e^0.5 = 1.65 takes in the second.
        assert_eq!(windowed(1, 3, 0.7).unwrap(), -1.25);
        // ((3 + 1)/2 - 4 + (3 + 5/2)/2 - 2) / 2 = -5/8.
        assert_eq!(windowed(1, 3, 1.0).unwrap(), -0.625);
        assert!(windowed(1, 3, 1.5).unwrap_err().to_string().contains("do not meet"));
        assert!(windowed(1, 3, f64::NAN).is_err() && windowed(1, 3, -0.1).is_err());
    }

    #[test]
    fn an_index_outside_the_context_is_refused_with_its_length() {
        for (early, late) in [(0, 2), (1, 4)] {
            assert!(score(early, late).unwrap_err().to_string().contains("1 to 3"));
        }
        assert!(score(2, 2).unwrap_err().to_string().contains("other than early, which is 2"));
    }
}
