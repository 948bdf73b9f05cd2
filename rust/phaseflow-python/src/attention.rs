//! Bindings of `phaseflow_core::attention`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArrayDyn};
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

/// Values `(head, metric)`, standard errors `(head, metric)`, chance `(metric,)`, numbers of queries `(metric,)`.
type HeadScores<'py> =
    (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<i64>>);

/// The columns of `phaseflow.head_scores`; `HEAD_METRICS` names the metrics in order.
#[pyfunction]
#[pyo3(signature = (pattern, tokens, bos, threads))]
fn head_scores<'py>(
    py: Python<'py>,
    pattern: &Bound<'py, PyAny>,
    tokens: PyReadonlyArrayDyn<'py, i64>,
    bos: Option<i64>,
    threads: Option<usize>,
) -> PyResult<HeadScores<'py>> {
    let pattern = BorrowedTensor::borrow("pattern", pattern)?;
    let (pattern, tokens) = (pattern.view(), tokens.as_array());
    let scores = compute(py, threads, |cancel| attention::head_scores(&pattern, tokens.view(), bos, cancel))?;
    Ok(columns(py, scores))
}

fn columns(py: Python<'_>, scores: attention::HeadScores) -> HeadScores<'_> {
    (
        scores.value.into_pyarray(py),
        scores.standard_error.into_pyarray(py),
        scores.chance.to_vec().into_pyarray(py),
        scores.n_queries.map(|count| count as i64).to_vec().into_pyarray(py),
    )
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

/// The columns of `phaseflow.head_scores` of a `CompactPattern`.
#[pyfunction]
#[pyo3(signature = (pattern, tokens, bos, threads))]
fn head_scores_of_compact<'py>(
    py: Python<'py>,
    pattern: BorrowedCompact<'py>,
    tokens: PyReadonlyArrayDyn<'py, i64>,
    bos: Option<i64>,
    threads: Option<usize>,
) -> PyResult<HeadScores<'py>> {
    let (compact, tokens) = (pattern.view(), tokens.as_array());
    let scores =
        compute(py, threads, |cancel| attention::head_scores_of_compact(&compact, tokens.view(), bos, cancel))?;
    Ok(columns(py, scores))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("HEAD_METRICS", Metric::ALL.map(Metric::name).to_vec())?;
    module.add_function(wrap_pyfunction!(prefix_matching_score, module)?)?;
    module.add_function(wrap_pyfunction!(head_scores, module)?)?;
    module.add_function(wrap_pyfunction!(prefix_matching_score_of_compact, module)?)?;
    module.add_function(wrap_pyfunction!(head_scores_of_compact, module)?)?;
    Ok(())
}
