//! Bindings of `phaseflow_core::circuit`.

use numpy::{Complex64, IntoPyArray, PyArray1, PyArray2, PyArray4, PyArrayDyn, PyReadonlyArray2, PyReadonlyArrayDyn};
use phaseflow_core::circuit::{self, Complex, Kind, Weights};
use pyo3::prelude::*;

use crate::array::BorrowedTensor;
use crate::compute::compute;
use crate::error::to_python;

fn complex(value: Complex) -> Complex64 {
    Complex64::new(value.re, value.im)
}

/// `phaseflow.composition_scores`, `(layer, head, layer, head)`.
#[pyfunction]
#[pyo3(signature = (w_q, w_k, w_v, w_o, kind, subtract_baseline, threads))]
#[allow(clippy::too_many_arguments)] // one for each of the Python function's
fn composition_scores<'py>(
    py: Python<'py>,
    w_q: &Bound<'py, PyAny>,
    w_k: &Bound<'py, PyAny>,
    w_v: &Bound<'py, PyAny>,
    w_o: &Bound<'py, PyAny>,
    kind: &str,
    subtract_baseline: bool,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let (w_q, w_k) = (BorrowedTensor::borrow("W_Q", w_q)?, BorrowedTensor::borrow("W_K", w_k)?);
    let (w_v, w_o) = (BorrowedTensor::borrow("W_V", w_v)?, BorrowedTensor::borrow("W_O", w_o)?);
    let weights = Weights { w_q: w_q.view(), w_k: w_k.view(), w_v: w_v.view(), w_o: w_o.view() };
    let kind: Kind = kind.parse().map_err(|error| to_python(py, error))?;
    let scores = compute(py, threads, |cancel| circuit::composition_scores(&weights, kind, subtract_baseline, cancel))?;
    Ok(scores.into_pyarray(py))
}

/// `phaseflow.factored_eigenvalues`, `(..., rank)`.
#[pyfunction]
#[pyo3(signature = (left, right, threads))]
fn factored_eigenvalues<'py>(
    py: Python<'py>,
    left: &Bound<'py, PyAny>,
    right: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArrayDyn<Complex64>>> {
    let (left, right) = (BorrowedTensor::borrow("left", left)?, BorrowedTensor::borrow("right", right)?);
    let (left, right) = (left.view(), right.view());
    let found = compute(py, threads, |cancel| circuit::factored_eigenvalues(&left, &right, cancel))?;
    Ok(found.mapv(complex).into_pyarray(py))
}

/// `phaseflow.ov_eigenvalues`, `(..., d_head)`.
#[pyfunction]
#[pyo3(signature = (w_e, w_v, w_o, w_u, threads))]
fn ov_eigenvalues<'py>(
    py: Python<'py>,
    w_e: &Bound<'py, PyAny>,
    w_v: &Bound<'py, PyAny>,
    w_o: &Bound<'py, PyAny>,
    w_u: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArrayDyn<Complex64>>> {
    let (w_e, w_v) = (BorrowedTensor::borrow("W_E", w_e)?, BorrowedTensor::borrow("W_V", w_v)?);
    let (w_o, w_u) = (BorrowedTensor::borrow("W_O", w_o)?, BorrowedTensor::borrow("W_U", w_u)?);
    let (w_e, w_v, w_o, w_u) = (w_e.view(), w_v.view(), w_o.view(), w_u.view());
    let found = compute(py, threads, |cancel| circuit::ov_eigenvalues(&w_e, &w_v, &w_o, &w_u, cancel))?;
    Ok(found.mapv(complex).into_pyarray(py))
}

/// `phaseflow.ov_copying_statistic`, `(...)`.
#[pyfunction]
#[pyo3(signature = (w_e, w_v, w_o, w_u, threads))]
fn ov_copying_statistic<'py>(
    py: Python<'py>,
    w_e: &Bound<'py, PyAny>,
    w_v: &Bound<'py, PyAny>,
    w_o: &Bound<'py, PyAny>,
    w_u: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArrayDyn<f64>>> {
    let (w_e, w_v) = (BorrowedTensor::borrow("W_E", w_e)?, BorrowedTensor::borrow("W_V", w_v)?);
    let (w_o, w_u) = (BorrowedTensor::borrow("W_O", w_o)?, BorrowedTensor::borrow("W_U", w_u)?);
    let (w_e, w_v, w_o, w_u) = (w_e.view(), w_v.view(), w_o.view(), w_u.view());
    let found = compute(py, threads, |cancel| circuit::ov_copying_statistic(&w_e, &w_v, &w_o, &w_u, cancel))?;
    Ok(found.into_pyarray(py))
}

/// `phaseflow.qk_previous_token_term`, `(layer, head)`.
#[pyfunction]
#[pyo3(signature = (w_e, w_q, w_k, w_v, w_o, previous_token_scores, threads))]
#[allow(clippy::too_many_arguments)] // one for each of the Python function's
fn qk_previous_token_term<'py>(
    py: Python<'py>,
    w_e: &Bound<'py, PyAny>,
    w_q: &Bound<'py, PyAny>,
    w_k: &Bound<'py, PyAny>,
    w_v: &Bound<'py, PyAny>,
    w_o: &Bound<'py, PyAny>,
    previous_token_scores: PyReadonlyArray2<'py, f64>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let w_e = BorrowedTensor::borrow("W_E", w_e)?;
    let (w_q, w_k) = (BorrowedTensor::borrow("W_Q", w_q)?, BorrowedTensor::borrow("W_K", w_k)?);
    let (w_v, w_o) = (BorrowedTensor::borrow("W_V", w_v)?, BorrowedTensor::borrow("W_O", w_o)?);
    let weights = Weights { w_q: w_q.view(), w_k: w_k.view(), w_v: w_v.view(), w_o: w_o.view() };
    let (w_e, scores) = (w_e.view(), previous_token_scores.as_array());
    let terms = compute(py, threads, |cancel| circuit::qk_previous_token_term(&w_e, &weights, scores, cancel))?;
    Ok(terms.into_pyarray(py))
}

/// `phaseflow.metrics.qk_previous_token_traces`, `(layer, head, layer, head)`.
#[pyfunction]
#[pyo3(signature = (w_e, w_q, w_k, w_v, w_o, threads))]
fn qk_previous_token_traces<'py>(
    py: Python<'py>,
    w_e: &Bound<'py, PyAny>,
    w_q: &Bound<'py, PyAny>,
    w_k: &Bound<'py, PyAny>,
    w_v: &Bound<'py, PyAny>,
    w_o: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray4<f64>>> {
    let w_e = BorrowedTensor::borrow("W_E", w_e)?;
    let (w_q, w_k) = (BorrowedTensor::borrow("W_Q", w_q)?, BorrowedTensor::borrow("W_K", w_k)?);
    let (w_v, w_o) = (BorrowedTensor::borrow("W_V", w_v)?, BorrowedTensor::borrow("W_O", w_o)?);
    let weights = Weights { w_q: w_q.view(), w_k: w_k.view(), w_v: w_v.view(), w_o: w_o.view() };
    let w_e = w_e.view();
    let traces = compute(py, threads, |cancel| circuit::qk_previous_token_traces(&w_e, &weights, cancel))?;
    Ok(traces.into_pyarray(py))
}

/// `phaseflow.copying_score`, `(head,)`.
#[pyfunction]
#[pyo3(signature = (pattern, values, w_o, w_u, tokens, threads))]
fn copying_score<'py>(
    py: Python<'py>,
    pattern: &Bound<'py, PyAny>,
    values: &Bound<'py, PyAny>,
    w_o: &Bound<'py, PyAny>,
    w_u: &Bound<'py, PyAny>,
    tokens: PyReadonlyArrayDyn<'py, i64>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (pattern, values) = (BorrowedTensor::borrow("pattern", pattern)?, BorrowedTensor::borrow("values", values)?);
    let (w_o, w_u) = (BorrowedTensor::borrow("W_O", w_o)?, BorrowedTensor::borrow("W_U", w_u)?);
    let (pattern, values, w_o, w_u) = (pattern.view(), values.view(), w_o.view(), w_u.view());
    let tokens = tokens.as_array();
    let scores =
        compute(py, threads, |cancel| circuit::copying_score(&pattern, &values, &w_o, &w_u, tokens.view(), cancel))?;
    Ok(scores.into_pyarray(py))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(composition_scores, module)?)?;
    module.add_function(wrap_pyfunction!(copying_score, module)?)?;
    module.add_function(wrap_pyfunction!(factored_eigenvalues, module)?)?;
    module.add_function(wrap_pyfunction!(ov_eigenvalues, module)?)?;
    module.add_function(wrap_pyfunction!(ov_copying_statistic, module)?)?;
    module.add_function(wrap_pyfunction!(qk_previous_token_term, module)?)?;
    module.add_function(wrap_pyfunction!(qk_previous_token_traces, module)?)?;
    Ok(())
}
