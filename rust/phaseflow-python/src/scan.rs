//! Bindings of `phaseflow_core::scan`: many stored tensors in one call, in bounded memory.

use std::sync::atomic::{AtomicU64, Ordering};

use numpy::PyReadonlyArray2;
use phaseflow_core::archive::StoredTensor;
use phaseflow_core::attention::{PatternParts, TokenIndex};
use phaseflow_core::scan::{self, Pattern, Source};
use pyo3::prelude::*;

use crate::array::BorrowedTensor;
use crate::attention::PyHeadScores;
use crate::compute::{compute, compute_watched};
use crate::error::to_python;
use crate::stored::PyStoredTensor;

/// The token occurrences of a batch, found once for all its patterns.
#[pyclass(name = "TokenIndex", module = "phaseflow._core", frozen)]
struct PyTokenIndex(TokenIndex);

#[pymethods]
impl PyTokenIndex {
    /// Of tokens `(batch, pos)`.
    #[new]
    #[pyo3(signature = (tokens, bos))]
    fn new(py: Python<'_>, tokens: PyReadonlyArray2<'_, i64>, bos: Option<i64>) -> PyResult<Self> {
        TokenIndex::new(tokens.as_array(), bos).map(Self).map_err(|error| to_python(py, error))
    }
}

/// A pattern that comes in parts: what was found of it so far.
#[pyclass(name = "PatternParts", module = "phaseflow._core")]
struct PyPatternParts {
    index: Py<PyTokenIndex>,
    parts: PatternParts,
}

#[pymethods]
impl PyPatternParts {
    /// Of a pattern with so many examples and heads on these tokens.
    #[new]
    #[pyo3(signature = (index, batch, heads))]
    fn new(py: Python<'_>, index: Py<PyTokenIndex>, batch: usize, heads: usize) -> PyResult<Self> {
        let parts = PatternParts::new(&index.get().0, batch, heads).map_err(|error| to_python(py, error))?;
        Ok(Self { index, parts })
    }

    /// Takes in `(batch, head, ...)`, whose first example and head are these of the whole.
    #[pyo3(signature = (example, head, part, threads))]
    fn add(
        &mut self,
        py: Python<'_>,
        example: usize,
        head: usize,
        part: &Bound<'_, PyAny>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let part = BorrowedTensor::borrow("pattern", part)?;
        let (Self { index, parts }, part) = (self, part.view());
        let index = &index.get().0;
        compute(py, threads, |cancel| parts.add(index, example, head, &part, cancel))
    }

    /// The scores of the whole.
    fn scores(&self, py: Python<'_>) -> PyResult<PyHeadScores> {
        let scores = self.parts.scores(&self.index.get().0).map_err(|error| to_python(py, error))?;
        Ok(PyHeadScores::new(py, scores))
    }
}

/// A stored pattern: the tensor alone, or queries, keys, log-sum-exp and scale.
#[derive(FromPyObject)]
enum StoredPattern<'py> {
    Compact(Bound<'py, PyStoredTensor>, Bound<'py, PyStoredTensor>, Bound<'py, PyStoredTensor>, f64),
    Whole(Bound<'py, PyStoredTensor>),
}

/// The same, ready to leave the GIL.
enum OwnedPattern {
    Compact([StoredTensor; 3], f64),
    Whole(StoredTensor),
}

impl OwnedPattern {
    fn new(pattern: &StoredPattern<'_>) -> Self {
        let own = |tensor: &Bound<'_, PyStoredTensor>| tensor.get().tensor().clone();
        match pattern {
            StoredPattern::Compact(queries, keys, log_sum_exp, scale) => {
                Self::Compact([own(queries), own(keys), own(log_sum_exp)], *scale)
            }
            StoredPattern::Whole(tensor) => Self::Whole(own(tensor)),
        }
    }

    fn borrowed(&self) -> Pattern<'_> {
        match self {
            Self::Compact([queries, keys, log_sum_exp], scale) => {
                Pattern::Compact { queries, keys, log_sum_exp, scale: *scale }
            }
            Self::Whole(tensor) => Pattern::Whole(tensor),
        }
    }
}

/// Scores of one pattern, or the exception that says why there are none.
#[derive(IntoPyObject)]
enum Outcome<'py> {
    Scores(PyHeadScores),
    Exception(Bound<'py, PyAny>),
}

/// All scores of many stored patterns; `progress` is called with the bytes read so far.
#[pyfunction]
#[pyo3(signature = (patterns, indices, memory, threads, progress))]
fn scan_head_scores<'py>(
    py: Python<'py>,
    patterns: Vec<StoredPattern<'py>>,
    indices: Vec<Bound<'py, PyTokenIndex>>,
    memory: usize,
    threads: Option<usize>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Vec<Outcome<'py>>> {
    let owned: Vec<OwnedPattern> = patterns.iter().map(OwnedPattern::new).collect();
    let of_batch: Vec<&TokenIndex> = indices.iter().map(|index| &index.get().0).collect();
    let sources: Vec<Source<'_>> =
        owned.iter().zip(of_batch).map(|(pattern, index)| Source { pattern: pattern.borrowed(), index }).collect();
    let done = AtomicU64::new(0);
    let watch = |py: Python<'_>| match &progress {
        Some(progress) => progress.call1(py, (done.load(Ordering::Relaxed),)).map(drop),
        None => Ok(()),
    };
    let found = compute_watched(py, threads, |cancel| scan::head_scores(&sources, memory, &done, cancel), watch)?;
    let outcome = |one: phaseflow_core::Result<_>| match one {
        Ok(scores) => Outcome::Scores(PyHeadScores::new(py, scores)),
        Err(error) => Outcome::Exception(to_python(py, error).into_value(py).into_bound(py).into_any()),
    };
    Ok(found.into_iter().map(outcome).collect())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyTokenIndex>()?;
    module.add_class::<PyPatternParts>()?;
    module.add_function(wrap_pyfunction!(scan_head_scores, module)?)?;
    Ok(())
}
