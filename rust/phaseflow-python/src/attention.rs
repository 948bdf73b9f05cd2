//! Bindings of `phaseflow_core::attention`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyReadonlyArrayDyn};
use phaseflow_core::attention::{self, Compact, Metric, PrefixMatching, Reduce};
use pyo3::prelude::*;

use crate::array::BorrowedTensor;
use crate::compute::compute;
use crate::error::to_python;

/// `phaseflow.prefix_matching_score`, `(head,)`.
#[pyfunction]
#[pyo3(signature = (pattern, tokens, offset, reduce, bos, threads))]
fn prefix_matching_score<'py>(
    py: Python<'py>,
    pattern: &Bound<'py, PyAny>,
    tokens: PyReadonlyArrayDyn<'py, i64>,
    offset: i64,
    reduce: &str,
    bos: Option<i64>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let pattern = BorrowedTensor::borrow("pattern", pattern)?;
    let reduce: Reduce = reduce.parse().map_err(|error| to_python(py, error))?;
    let (pattern, tokens) = (pattern.view(), tokens.as_array());
    let how = PrefixMatching { offset, reduce, bos };
    let scores = compute(py, threads, |cancel| attention::prefix_matching_score(&pattern, tokens.view(), how, cancel))?;
    Ok(scores.into_pyarray(py))
}

/// What the core finds, one array a field; `HEAD_METRICS` names the metrics in order.
#[pyclass(name = "HeadScores", module = "phaseflow._core", frozen, get_all)]
pub(crate) struct PyHeadScores {
    /// `(head, metric)`
    value: Py<PyArray2<f64>>,
    /// `(head, metric)`
    standard_error: Py<PyArray2<f64>>,
    /// `(metric,)`
    chance: Py<PyArray1<f64>>,
    /// `(metric,)`
    n_queries: Py<PyArray1<i64>>,
    /// `(head, metric, example)`
    example_value: Py<PyArray3<f64>>,
    /// `(metric, example)`
    example_chance: Py<PyArray2<f64>>,
    /// `(metric, example)`
    example_queries: Py<PyArray2<i64>>,
    /// `(head,)`
    unnormalised_rows: Py<PyArray1<i64>>,
    /// `(head,)`
    nonfinite_entries: Py<PyArray1<i64>>,
}

impl PyHeadScores {
    pub(crate) fn new(py: Python<'_>, scores: attention::HeadScores) -> Self {
        let counts = |counts: Vec<u64>| counts.into_iter().map(|count| count as i64).collect::<Vec<_>>();
        Self {
            value: scores.value.into_pyarray(py).unbind(),
            standard_error: scores.standard_error.into_pyarray(py).unbind(),
            chance: scores.chance.to_vec().into_pyarray(py).unbind(),
            n_queries: scores.n_queries.map(|count| count as i64).to_vec().into_pyarray(py).unbind(),
            example_value: scores.example_value.into_pyarray(py).unbind(),
            example_chance: scores.example_chance.into_pyarray(py).unbind(),
            example_queries: scores.example_queries.mapv(|count| count as i64).into_pyarray(py).unbind(),
            unnormalised_rows: counts(scores.unnormalised_rows).into_pyarray(py).unbind(),
            nonfinite_entries: counts(scores.nonfinite_entries).into_pyarray(py).unbind(),
        }
    }
}

/// What `phaseflow.head_scores` makes a table of.
#[pyfunction]
#[pyo3(signature = (pattern, tokens, bos, threads))]
fn head_scores<'py>(
    py: Python<'py>,
    pattern: &Bound<'py, PyAny>,
    tokens: PyReadonlyArrayDyn<'py, i64>,
    bos: Option<i64>,
    threads: Option<usize>,
) -> PyResult<PyHeadScores> {
    let pattern = BorrowedTensor::borrow("pattern", pattern)?;
    let (pattern, tokens) = (pattern.view(), tokens.as_array());
    let scores = compute(py, threads, |cancel| attention::head_scores(&pattern, tokens.view(), bos, cancel))?;
    Ok(PyHeadScores::new(py, scores))
}

/// `phaseflow.CompactPattern`, borrowed.
struct BorrowedCompact<'py> {
    queries: BorrowedTensor<'py>,
    keys: BorrowedTensor<'py>,
    log_sum_exp: BorrowedTensor<'py>,
    scale: f64,
}

impl<'py> FromPyObject<'_, 'py> for BorrowedCompact<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let part = |name| BorrowedTensor::borrow(name, &object.getattr(name)?);
        Ok(Self {
            queries: part("queries")?,
            keys: part("keys")?,
            log_sum_exp: part("log_sum_exp")?,
            scale: object.getattr("scale")?.extract()?,
        })
    }
}

impl BorrowedCompact<'_> {
    fn view(&self) -> Compact<'_> {
        Compact {
            queries: self.queries.view(),
            keys: self.keys.view(),
            log_sum_exp: self.log_sum_exp.view(),
            scale: self.scale,
        }
    }
}

/// `phaseflow.prefix_matching_score` of a `CompactPattern`.
#[pyfunction]
#[pyo3(signature = (pattern, tokens, offset, reduce, bos, threads))]
fn prefix_matching_score_of_compact<'py>(
    py: Python<'py>,
    pattern: BorrowedCompact<'py>,
    tokens: PyReadonlyArrayDyn<'py, i64>,
    offset: i64,
    reduce: &str,
    bos: Option<i64>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let reduce: Reduce = reduce.parse().map_err(|error| to_python(py, error))?;
    let (compact, tokens) = (pattern.view(), tokens.as_array());
    let how = PrefixMatching { offset, reduce, bos };
    let scores = compute(py, threads, |cancel| {
        attention::prefix_matching_score_of_compact(&compact, tokens.view(), how, cancel)
    })?;
    Ok(scores.into_pyarray(py))
}

/// The same of a `CompactPattern`.
#[pyfunction]
#[pyo3(signature = (pattern, tokens, bos, threads))]
fn head_scores_of_compact<'py>(
    py: Python<'py>,
    pattern: BorrowedCompact<'py>,
    tokens: PyReadonlyArrayDyn<'py, i64>,
    bos: Option<i64>,
    threads: Option<usize>,
) -> PyResult<PyHeadScores> {
    let (compact, tokens) = (pattern.view(), tokens.as_array());
    let scores =
        compute(py, threads, |cancel| attention::head_scores_of_compact(&compact, tokens.view(), bos, cancel))?;
    Ok(PyHeadScores::new(py, scores))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyHeadScores>()?;
    module.add("HEAD_METRICS", Metric::ALL.map(Metric::name).to_vec())?;
    module.add_function(wrap_pyfunction!(prefix_matching_score, module)?)?;
    module.add_function(wrap_pyfunction!(head_scores, module)?)?;
    module.add_function(wrap_pyfunction!(prefix_matching_score_of_compact, module)?)?;
    module.add_function(wrap_pyfunction!(head_scores_of_compact, module)?)?;
    Ok(())
}
