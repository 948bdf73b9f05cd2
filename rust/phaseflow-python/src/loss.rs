//! Bindings of `phaseflow_core::loss`.

use std::sync::atomic::{AtomicU64, Ordering};

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayDyn, PyReadonlyArray1, PyReadonlyArray2};
use phaseflow_core::archive::StoredTensor;
use phaseflow_core::loss::{self, Bootstrap, InContext, Method};
use phaseflow_core::scan;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::array::BorrowedTensor;
use crate::compute::{compute, compute_watched};
use crate::error::to_python;
use crate::stored::PyStoredTensor;

type Array<'py> = Bound<'py, PyArrayDyn<f64>>;
type Vector<'py> = Bound<'py, PyArray1<f64>>;
/// Inner products, totals, number of columns.
type Sums<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>, usize);

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

/// `phaseflow.loss_summary`: mean, variance, standard error, undefined, late minus early.
#[pyfunction]
#[pyo3(signature = (per_token_loss, early, late, bandwidth, threads))]
fn loss_summary<'py>(
    py: Python<'py>,
    per_token_loss: &Bound<'py, PyAny>,
    early: usize,
    late: usize,
    bandwidth: f64,
    threads: Option<usize>,
) -> PyResult<[Array<'py>; 5]> {
    let losses = BorrowedTensor::borrow("per_token_loss", per_token_loss)?;
    let losses = losses.view();
    let tokens = InContext { early, late, bandwidth };
    let found = compute(py, threads, |cancel| loss::loss_summary(&losses, tokens, cancel))?;
    let arrays = [found.mean, found.variance, found.standard_error, found.undefined, found.late_minus_early];
    Ok(arrays.map(|array| array.into_pyarray(py)))
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
#[pyo3(signature = (per_token_loss, early, late, bandwidth, level, resamples, seed, method, threads))]
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
    method: &str,
    threads: Option<usize>,
) -> PyResult<Array<'py>> {
    let losses = BorrowedTensor::borrow("per_token_loss", per_token_loss)?;
    let losses = losses.view();
    let method = Method::from_name(method).map_err(|error| to_python(py, error))?;
    let (tokens, how) = (InContext { early, late, bandwidth }, Bootstrap { level, resamples, seed, method });
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

/// The derivative of one curve, `(pos,)`, from its means and standard errors.
#[pyfunction]
#[pyo3(signature = (mean, standard_error, bandwidth))]
fn log_derivative<'py>(
    py: Python<'py>,
    mean: PyReadonlyArray1<'py, f64>,
    standard_error: PyReadonlyArray1<'py, f64>,
    bandwidth: f64,
) -> PyResult<Vector<'py>> {
    let (mean, standard_error) = (mean.as_array().to_vec(), standard_error.as_array().to_vec());
    let slopes = py.detach(|| loss::log_derivative(&mean, &standard_error, bandwidth));
    let slopes = slopes.map_err(|error| to_python(py, error))?;
    Ok(slopes.into_pyarray(py))
}

/// `phaseflow.loss_log_derivative_error`, `(..., pos)`.
#[pyfunction]
#[pyo3(signature = (per_token_loss, bandwidth, threads))]
fn loss_log_derivative_error<'py>(
    py: Python<'py>,
    per_token_loss: &Bound<'py, PyAny>,
    bandwidth: f64,
    threads: Option<usize>,
) -> PyResult<Array<'py>> {
    let losses = BorrowedTensor::borrow("per_token_loss", per_token_loss)?;
    let losses = losses.view();
    let errors = compute(py, threads, |cancel| loss::loss_log_derivative_error(&losses, bandwidth, cancel))?;
    Ok(errors.into_pyarray(py))
}

/// Mean, standard error and late minus early of one tensor, or the exception that says why there are none.
#[derive(IntoPyObject)]
enum Outcome<'py> {
    Losses((Vector<'py>, Vector<'py>, Vector<'py>)),
    Exception(Bound<'py, PyAny>),
}

/// Losses of many stored tensors, each with its early token, late token and bandwidth, or with None; `progress` is
/// called with the bytes read so far.
#[pyfunction]
#[pyo3(signature = (tensors, tokens, keep, threads, progress))]
fn scan_losses<'py>(
    py: Python<'py>,
    tensors: Vec<Bound<'py, PyStoredTensor>>,
    tokens: Vec<Option<(usize, usize, f64)>>,
    keep: bool,
    threads: Option<usize>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Vec<Outcome<'py>>> {
    let owned: Vec<StoredTensor> = tensors.iter().map(|tensor| tensor.get().tensor().clone()).collect();
    let tokens = tokens.into_iter().map(|one| one.map(|(early, late, bandwidth)| InContext { early, late, bandwidth }));
    let sources: Vec<_> = owned.iter().zip(tokens).collect();
    let done = AtomicU64::new(0);
    let watch = |py: Python<'_>| match &progress {
        Some(progress) => progress.call1(py, (done.load(Ordering::Relaxed),)).map(drop),
        None => Ok(()),
    };
    let found = compute_watched(py, threads, |cancel| scan::losses(&sources, keep, &done, cancel), watch)?;
    let outcome = |one: phaseflow_core::Result<scan::Losses>| match one {
        Ok(losses) => Outcome::Losses((
            losses.mean.into_pyarray(py),
            losses.standard_error.into_pyarray(py),
            losses.late_minus_early.into_pyarray(py),
        )),
        Err(error) => Outcome::Exception(to_python(py, error).into_value(py).into_bound(py).into_any()),
    };
    Ok(found.into_iter().map(outcome).collect())
}

/// Inner products of the rows over columns `start..stop`, each row's total, and the number of columns in them.
#[pyfunction]
#[pyo3(signature = (losses, start, stop, threads))]
fn loss_gram<'py>(
    py: Python<'py>,
    losses: Vec<Bound<'py, PyAny>>,
    start: usize,
    stop: usize,
    threads: Option<usize>,
) -> PyResult<Sums<'py>> {
    let borrowed = losses
        .iter()
        .map(|one| BorrowedTensor::borrow("losses", one))
        .collect::<PyResult<Vec<BorrowedTensor<'_>>>>()?;
    let views: Vec<_> = borrowed.iter().map(BorrowedTensor::view).collect();
    let found = compute(py, threads, |cancel| loss::gram(&views, start, stop, cancel))?;
    Ok((found.products.into_pyarray(py), found.totals.into_pyarray(py), found.used))
}

/// The checkpoints of `phaseflow.token_changes`, prepared.
#[pyclass(frozen, module = "phaseflow._core")]
struct TokenGrid(loss::Grid);

#[pymethods]
impl TokenGrid {
    #[new]
    fn new(py: Python<'_>, steps: PyReadonlyArray1<'_, f64>) -> PyResult<Self> {
        loss::Grid::new(&steps.as_array().to_vec()).map(Self).map_err(|error| to_python(py, error))
    }

    /// The noise's variance at every checkpoint over that of the middle one, at least 1/2; of `sample_tokens` of each.
    #[pyo3(signature = (losses, *, threads))]
    fn noise<'py>(
        &self,
        py: Python<'py>,
        losses: PyReadonlyArray2<'py, f64>,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let losses = losses.as_array();
        let noise = compute(py, threads, |cancel| self.0.noise(&losses, cancel))?;
        Ok(PyArray1::from_vec(py, noise))
    }

    /// The share of far distances between checkpoints; of `sample_tokens` of each.
    #[pyo3(signature = (losses, *, threads))]
    fn far_share(&self, py: Python<'_>, losses: PyReadonlyArray2<'_, f64>, threads: Option<usize>) -> PyResult<f64> {
        let losses = losses.as_array();
        compute(py, threads, |cancel| self.0.far_share(&losses, cancel))
    }

    /// The same checkpoints with noise of these variances.
    fn with_noise(&self, py: Python<'_>, noise: PyReadonlyArray1<'_, f64>) -> PyResult<Self> {
        let grid = self.0.clone().with_noise(&noise.as_array().to_vec());
        grid.map(Self).map_err(|error| to_python(py, error))
    }

    /// Checkpoint indices (last before, first after) of every ramp.
    #[getter]
    fn ramps(&self) -> Vec<(usize, usize)> {
        self.0.ramps().iter().map(|ramp| (ramp.start, ramp.end)).collect()
    }

    /// Columns over the tokens `start..stop`, as a dict of arrays.
    #[pyo3(signature = (losses, start, stop, *, threads))]
    fn scan<'py>(
        &self,
        py: Python<'py>,
        losses: Vec<Bound<'py, PyAny>>,
        start: usize,
        stop: usize,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let borrowed = borrowed(&losses)?;
        let views: Vec<_> = borrowed.iter().map(BorrowedTensor::view).collect();
        let scan = compute(py, threads, |cancel| self.0.scan(&views, start..stop, cancel))?;
        let columns = PyDict::new(py);
        columns.set_item("statistic", scan.statistic.into_pyarray(py))?;
        columns.set_item("ramp", scan.ramp.into_pyarray(py))?;
        columns.set_item("height", scan.height.into_pyarray(py))?;
        columns.set_item("before", scan.before.into_pyarray(py))?;
        columns.set_item("after", scan.after.into_pyarray(py))?;
        columns.set_item("wander", scan.wander.into_pyarray(py))?;
        Ok(columns)
    }

    /// The distribution without breaks, for tokens that wander as these do with noise of these tails.
    #[pyo3(signature = (wander, far_share, *, simulations, seed, threads))]
    fn null(
        &self,
        py: Python<'_>,
        wander: PyReadonlyArray1<'_, u8>,
        far_share: f64,
        simulations: usize,
        seed: u64,
        threads: Option<usize>,
    ) -> PyResult<TokenNull> {
        let wander = wander.as_array().to_vec();
        compute(py, threads, |cancel| self.0.null(&wander, far_share, simulations, seed, cancel)).map(TokenNull)
    }
}

/// The losses of every checkpoint.
fn borrowed<'py>(losses: &[Bound<'py, PyAny>]) -> PyResult<Vec<BorrowedTensor<'py>>> {
    losses.iter().map(|one| BorrowedTensor::borrow("per_token_loss", one)).collect()
}

/// The losses of at most 16,384 tokens of one checkpoint, spread evenly: the same ones at every checkpoint.
#[pyfunction]
fn sample_tokens<'py>(py: Python<'py>, losses: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let losses = BorrowedTensor::borrow("per_token_loss", losses)?;
    let losses = losses.view();
    let sample = py.detach(|| loss::sample(&losses)).map_err(|error| to_python(py, error))?;
    Ok(PyArray1::from_vec(py, sample))
}

/// What `TokenGrid.scan`'s statistics are without drops.
#[pyclass(frozen, module = "phaseflow._core")]
struct TokenNull(loss::Null);

#[pymethods]
impl TokenNull {
    /// p-value of each statistic.
    fn p_values<'py>(&self, py: Python<'py>, statistics: PyReadonlyArray1<'py, f64>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_iter(py, statistics.as_array().iter().map(|&statistic| self.0.p_value(statistic)))
    }

    /// For each ramp the share of chance findings placed there.
    #[getter]
    fn placed<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, &self.0.placed)
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TokenGrid>()?;
    module.add_class::<TokenNull>()?;
    module.add_function(wrap_pyfunction!(sample_tokens, module)?)?;
    module.add_function(wrap_pyfunction!(position_losses, module)?)?;
    module.add_function(wrap_pyfunction!(in_context_learning_score, module)?)?;
    module.add_function(wrap_pyfunction!(in_context_learning_interval, module)?)?;
    module.add_function(wrap_pyfunction!(loss_gram, module)?)?;
    module.add_function(wrap_pyfunction!(loss_summary, module)?)?;
    module.add_function(wrap_pyfunction!(loss_log_derivative, module)?)?;
    module.add_function(wrap_pyfunction!(loss_log_derivative_error, module)?)?;
    module.add_function(wrap_pyfunction!(log_derivative, module)?)?;
    module.add_function(wrap_pyfunction!(scan_losses, module)?)?;
    Ok(())
}
