//! All scores of a pattern that comes in parts, some heads of some examples at a time, as what decodes it gives them.

use ndarray::ArrayViewD;
use rayon::prelude::*;

use super::head_scores::HeadScores;
use super::input::{Pattern, fits};
use super::sums::Sums;
use super::token_index::TokenIndex;
use crate::tensor::{Element, TensorView};
use crate::{Cancel, Error, Result, with_view};

/// The sums of the parts that came so far; in any order they give the bits of the whole.
pub struct PatternParts {
    heads: usize,
    /// `(batch, head)`
    sums: Vec<Option<Sums>>,
}

impl PatternParts {
    /// Of a pattern with so many examples and heads.
    pub fn new(index: &TokenIndex, batch: usize, heads: usize) -> Result<Self> {
        fits("tokens", "batch", batch, index.batch())?;
        Ok(Self { heads, sums: vec![None; batch * heads] })
    }

    /// Takes a part in, `(batch, head, query_pos, key_pos)` or packed `(batch, head, entry)`, whose first example and
    /// head are these of the whole. One that was there already is replaced.
    pub fn add(
        &mut self,
        index: &TokenIndex,
        example: usize,
        head: usize,
        part: &TensorView<'_>,
        cancel: &Cancel,
    ) -> Result<()> {
        with_view!(part, |part| self.add_view(index, example, head, part.view(), cancel))
    }

    fn add_view<T: Element>(
        &mut self,
        index: &TokenIndex,
        example: usize,
        head: usize,
        part: ArrayViewD<'_, T>,
        cancel: &Cancel,
    ) -> Result<()> {
        let part = Pattern::new(part, index.context())?;
        let (batch, heads) = part.batch_and_heads();
        inside("example", example, batch, index.batch())?;
        inside("head", head, heads, self.heads)?;
        let sums_of = |pair: usize| {
            cancel.check()?;
            let (within, of) = (pair / heads, pair % heads);
            Ok(Sums::of_rows(index.example(example + within), index.context(), &part.rows(within, of)))
        };
        let found: Vec<Sums> = (0..batch * heads).into_par_iter().map(sums_of).collect::<Result<_>>()?;
        for (pair, sums) in found.into_iter().enumerate() {
            self.sums[(example + pair / heads) * self.heads + head + pair % heads] = Some(sums);
        }
        Ok(())
    }

    /// The scores, once every head of every example came.
    pub fn scores(&self, index: &TokenIndex) -> Result<HeadScores> {
        let came: Vec<Sums> = self.sums.iter().flatten().cloned().collect();
        if came.len() < self.sums.len() {
            return Err(Error::OutOfRange {
                argument: "parts",
                expected: format!("all {} of the heads of all examples", self.sums.len()),
                got: came.len().to_string(),
            });
        }
        Ok(HeadScores::new(index, self.heads, &came))
    }
}

fn inside(argument: &'static str, first: usize, count: usize, all: usize) -> Result<()> {
    if first.checked_add(count).is_some_and(|end| end <= all) {
        return Ok(());
    }
    Err(Error::OutOfRange { argument, expected: format!("{count} of {all}"), got: format!("those from {first} on") })
}
