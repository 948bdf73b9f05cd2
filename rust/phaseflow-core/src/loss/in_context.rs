//! In-context learning score: `loss(late) - loss(early)`, each averaged over examples, in nats.
//!
//! Olsson 2022: the 500th token's loss minus the 50th's; negative means that context helps. Token indices are 1-based,
//! as in the paper: the 500th token lies at position 499. The difference is taken example by example, in double
//! precision, so that what an example's difficulty adds to both cancels before anything is rounded.

use ndarray::{ArrayD, ArrayView2};
use rayon::prelude::*;

use super::layout::Layout;
use crate::tensor::{Element, TensorView};
use crate::{Cancel, Error, Result, with_view};

/// The two tokens compared, 1-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InContext {
    /// Index of the early token.
    pub early: usize,
    /// Index of the late token.
    pub late: usize,
}

impl Default for InContext {
    fn default() -> Self {
        Self { early: 50, late: 500 }
    }
}

impl InContext {
    /// Refuses indices that are equal, 0 or beyond the context.
    fn check(self, context: usize) -> Result<()> {
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
        Ok(())
    }

    /// `loss(late) - loss(early)` of every example of `(batch, pos)` losses.
    fn differences<T: Element>(self, losses: &ArrayView2<'_, T>) -> Vec<f64> {
        let (early, late) = (losses.column(self.early - 1), losses.column(self.late - 1));
        late.iter().zip(early).map(|(late, early)| late.to_f64() - early.to_f64()).collect()
    }
}

/// The score for each index of the leading axes of `per_token_loss`, `(..., batch, pos)`; NaN without examples or if
/// one of the two losses of an example is NaN.
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
        tokens.check(layout.context)?;
        let differences = layout
            .losses
            .par_iter()
            .map(|losses| {
                cancel.check()?;
                Ok(tokens.differences(losses))
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
        let losses = arr2(&[[4.0, 3.0, 1.0], [2.0, 3.0, 2.5]]);
        let view = TensorView::F64(losses.view().into_dyn());
        Ok(in_context_learning_score(&view, InContext { early, late }, &Cancel::new())?[[]])
    }

    #[test]
    fn indices_are_one_based_and_negative_means_that_context_helps() {
        // (1 - 4) and (5/2 - 2): mean -5/4.
        assert_eq!(score(1, 3).unwrap(), -1.25);
        assert_eq!(score(3, 1).unwrap(), 1.25);
    }

    #[test]
    fn an_index_outside_the_context_is_refused_with_its_length() {
        for (early, late) in [(0, 2), (1, 4)] {
            assert!(score(early, late).unwrap_err().to_string().contains("1 to 3"));
        }
        assert!(score(2, 2).unwrap_err().to_string().contains("other than early, which is 2"));
    }
}
