//! Bindings of `phaseflow_core::loss`.

use numpy::{IntoPyArray, PyArrayDyn};
use phaseflow_core::loss::{self, Bootstrap, InContext};
use pyo3::prelude::*;

use crate::array::BorrowedTensor;
use crate::compute::compute;

type Array<'py> = Bound<'py, PyArrayDyn<f64>>;

/// `phaseflow.position_losses`: mean and standard error, each `(..., pos)`.
#[pyfunction]
#[pyo3(signature = (per_token_loss, threads))]
fn position_losses<'py>(
    py: Python<'py>,
    per_token_loss: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let losses = BorrowedTensor::borrow("per_token_loss", per_token_loss)?;
    let losses = losses.view();
    let found = compute(py, threads, |cancel| loss::position_losses(&losses, cancel))?;
    Ok((found.mean.into_pyarray(py), found.standard_error.into_pyarray(py)))
}

/// `phaseflow.in_context_learning_score`, `(...)`.
#[pyfunction]
#[pyo3(signature = (per_token_loss, early, late, bandwidth, threads))]
fn in_context_learning_score<'py>(
    py: Python<'py>,
    per_token_loss: &Bound<'py, PyAny>,
    early: usize,
    late: usize,
    bandwidth: f64,
    threads: Option<usize>,
) -> PyResult<Array<'py>> {
    let losses = BorrowedTensor::borrow("per_token_loss", per_token_loss)?;
    let losses = losses.view();
    let tokens = InContext { early, late, bandwidth };
    let scores = compute(py, threads, |cancel| loss::in_context_learning_score(&losses, tokens, cancel))?;
    Ok(scores.into_pyarray(py))
}

/// `phaseflow.in_context_learning_interval`, `(..., 2)`.
#[pyfunction]
#[pyo3(signature = (per_token_loss, early, late, bandwidth, level, resamples, seed, threads))]
#[allow(clippy::too_many_arguments)] // one for each of the Python function's, which are all keywords there
fn in_context_learning_interval<'py>(
    py: Python<'py>,
    per_token_loss: &Bound<'py, PyAny>,
    early: usize,
    late: usize,
    bandwidth: f64,
    level: f64,
    resamples: usize,
    seed: u64,
    threads: Option<usize>,
) -> PyResult<Array<'py>> {
    let losses = BorrowedTensor::borrow("per_token_loss", per_token_loss)?;
    let losses = losses.view();
    let (tokens, how) = (InContext { early, late, bandwidth }, Bootstrap { level, resamples, seed });
    let ends = compute(py, threads, |cancel| loss::in_context_learning_interval(&losses, tokens, how, cancel))?;
    Ok(ends.into_pyarray(py))
}

/// `phaseflow.loss_log_derivative`, `(..., pos)`.
#[pyfunction]
#[pyo3(signature = (per_token_loss, bandwidth, threads))]
fn loss_log_derivative<'py>(
    py: Python<'py>,
    per_token_loss: &Bound<'py, PyAny>,
    bandwidth: f64,
    threads: Option<usize>,
) -> PyResult<Array<'py>> {
    let losses = BorrowedTensor::borrow("per_token_loss", per_token_loss)?;
    let losses = losses.view();
    let slopes = compute(py, threads, |cancel| loss::loss_log_derivative(&losses, bandwidth, cancel))?;
    Ok(slopes.into_pyarray(py))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(position_losses, module)?)?;
    module.add_function(wrap_pyfunction!(in_context_learning_score, module)?)?;
    module.add_function(wrap_pyfunction!(in_context_learning_interval, module)?)?;
    module.add_function(wrap_pyfunction!(loss_log_derivative, module)?)?;
    Ok(())
}
