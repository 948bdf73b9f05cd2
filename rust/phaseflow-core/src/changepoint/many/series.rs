//! A batch of series of one stored type: rows of an array, or pieces of one long array.

use ndarray::{ArrayView1, ArrayView3, s};

use crate::tensor::Element;
use crate::{Error, Result};

/// The batch. NaN is a missing sample; an infinity is refused.
#[derive(Debug, Clone, Copy)]
pub enum Series<'a, E> {
    /// (series, sample, feature).
    Rows(ArrayView3<'a, E>),
    /// Series `i` is `values[offsets[i]..offsets[i + 1]]`.
    Pieces {
        /// All samples of all series.
        values: ArrayView1<'a, E>,
        /// Where each starts, and the end of the last.
        offsets: &'a [usize],
    },
}

/// The samples of one series that are there.
#[derive(Debug, Default)]
pub(super) struct Present {
    /// (sample, feature), row by row.
    pub(super) values: Vec<f64>,
    /// Index of each within its series.
    pub(super) at: Vec<usize>,
}

impl<E: Element> Series<'_, E> {
    /// Whether the offsets lie within the values.
    pub fn check(&self) -> Result<()> {
        let Self::Pieces { values, offsets } = self else { return Ok(()) };
        let ordered = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        match (offsets.first(), offsets.last()) {
            (Some(_), Some(&last)) if ordered && last <= values.len() => Ok(()),
            (_, last) => Err(Error::OutOfRange {
                argument: "offsets",
                expected: format!("at least one, none below the one before, at most the {} samples", values.len()),
                got: last.map_or("empty".into(), |last| format!("{} ending at {last}", offsets.len())),
            }),
        }
    }

    /// How many series.
    pub fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len_of(ndarray::Axis(0)),
            Self::Pieces { offsets, .. } => offsets.len().saturating_sub(1),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn features(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len_of(ndarray::Axis(2)),
            Self::Pieces { .. } => 1,
        }
    }

    /// The most samples of a series.
    pub(super) fn longest(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len_of(ndarray::Axis(1)),
            Self::Pieces { offsets, .. } => offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0),
        }
    }

    /// Where the axis of a series starts in the axis of all: only pieces have one each.
    pub(super) fn axis_start(&self, series: usize) -> usize {
        match self {
            Self::Rows(_) => 0,
            Self::Pieces { offsets, .. } => offsets[series],
        }
    }

    /// The samples of one series without a NaN.
    pub(super) fn read(&self, series: usize, present: &mut Present) -> Result<()> {
        present.values.clear();
        present.at.clear();
        let mut keep = |sample: usize, value: &mut dyn Iterator<Item = f64>| {
            let start = present.values.len();
            present.values.extend(value);
            let row = &present.values[start..];
            if let Some(&value) = row.iter().find(|value| value.is_infinite()) {
                return Err(Error::NotFinite { argument: "signals", index: format!("{series}, {sample}"), value });
            }
            if row.iter().any(|value| value.is_nan()) {
                present.values.truncate(start);
            } else {
                present.at.push(sample);
            }
            Ok(())
        };
        match self {
            Self::Rows(rows) => {
                let rows = rows.slice(s![series, .., ..]);
                rows.outer_iter()
                    .enumerate()
                    .try_for_each(|(sample, row)| keep(sample, &mut row.iter().map(|value| value.to_f64())))
            }
            Self::Pieces { values, offsets } => values
                .slice(s![offsets[series]..offsets[series + 1]])
                .iter()
                .enumerate()
                .try_for_each(|(sample, value)| keep(sample, &mut std::iter::once(value.to_f64()))),
        }
    }
}
