//! Bindings of `phaseflow_core::changepoint`.

use std::borrow::Cow;
use std::sync::Arc;

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use phaseflow_core::Cancel;
use phaseflow_core::changepoint::window::{Base, Detector, Limits, Options, Scale, Window};
use phaseflow_core::changepoint::{self, CostName, Penalty, Request, SearchName, Shape};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::compute::{compute, compute_briefly};
use crate::error::to_python;

type WindowsOfPanel<'py> =
    (Bound<'py, PyDict>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray2<f64>>);
type StatisticAndWindow = (f64, Option<(usize, usize)>);

/// A prepared grid of checkpoints; Python keeps the last few, because their simulated thresholds are worth keeping.
#[pyclass(frozen, module = "phaseflow._core")]
struct WindowDetector(Arc<Detector>);

#[pymethods]
impl WindowDetector {
    #[new]
    #[pyo3(signature = (x, variance, *, scale, base, flank, max_width, simulations, seed, thresholds_of=None))]
    #[expect(clippy::too_many_arguments, reason = "one for each option of the Python function")]
    fn new(
        py: Python<'_>,
        x: PyReadonlyArray1<'_, f64>,
        variance: Option<PyReadonlyArray1<'_, f64>>,
        scale: &str,
        base: &str,
        flank: usize,
        max_width: Option<f64>,
        simulations: usize,
        seed: u64,
        thresholds_of: Option<PyRef<'_, Self>>,
    ) -> PyResult<Self> {
        let names = Scale::from_name(scale).and_then(|scale| Ok((scale, Base::from_name(base)?)));
        let (scale, base) = names.map_err(|error| to_python(py, error))?;
        let options = Options { scale, base, flank, max_width, simulations, seed };
        let x = x.as_array().to_vec();
        let variance = variance.map(|variance| variance.as_array().to_vec());
        let detector = compute(py, None, |cancel| Detector::new(&x, variance.as_deref(), options, cancel))?;
        Ok(Self(Arc::new(match thresholds_of {
            Some(other) => detector.with_thresholds_of(Arc::clone(&other.0)),
            None => detector,
        })))
    }

    /// Columns of the windows' table as a dict of arrays, the p-value of every series, the series with a significant
    /// window, and what these have beside their windows, (series, sample).
    #[pyo3(signature = (signals, *, level, max_windows, min_size, threads))]
    fn detect<'py>(
        &self,
        py: Python<'py>,
        signals: PyReadonlyArray2<'py, f64>,
        level: f64,
        max_windows: usize,
        min_size: f64,
        threads: Option<usize>,
    ) -> PyResult<WindowsOfPanel<'py>> {
        let detector = Arc::clone(&self.0);
        let signals = signals.as_array();
        let limits = Limits { level, max_windows, min_size };
        let found = compute(py, threads, |cancel| detector.detect(signals, limits, cancel))?;
        let columns = PyDict::new(py);
        let series = found.windows.iter().map(|window| window.series as i64);
        columns.set_item("series", PyArray1::from_iter(py, series))?;
        let add = |name: &str, value: fn(&Window) -> f64| {
            columns.set_item(name, PyArray1::from_iter(py, found.windows.iter().map(value)))
        };
        add("start", |window| window.start)?;
        add("start_lower", |window| window.start_interval.0)?;
        add("start_upper", |window| window.start_interval.1)?;
        add("end", |window| window.end)?;
        add("end_lower", |window| window.end_interval.0)?;
        add("end_upper", |window| window.end_interval.1)?;
        add("size", |window| window.size)?;
        add("size_lower", |window| window.size_interval.0)?;
        add("size_upper", |window| window.size_interval.1)?;
        add("p_value", |window| window.p_value)?;
        let (sure, rests): (Vec<i64>, Vec<Vec<f64>>) =
            found.rests.into_iter().map(|(series, rest)| (series as i64, rest)).unzip();
        let rests = PyArray1::from_vec(py, rests.concat()).reshape([sure.len(), detector.n_samples()])?;
        Ok((columns, PyArray1::from_vec(py, found.p_values), PyArray1::from_vec(py, sure), rests))
    }

    /// For every series `(statistic, (start, end) as checkpoint indices or None)` of its clearest window.
    #[pyo3(signature = (signals, *, threads))]
    fn clearest(
        &self,
        py: Python<'_>,
        signals: PyReadonlyArray2<'_, f64>,
        threads: Option<usize>,
    ) -> PyResult<Vec<StatisticAndWindow>> {
        let detector = Arc::clone(&self.0);
        let signals = signals.as_array();
        let clearest = compute(py, threads, |cancel| detector.clearest(signals, cancel))?;
        Ok(clearest.into_iter().map(|found| (found.statistic, found.window)).collect())
    }
}

/// A criterion's name or a value.
#[derive(FromPyObject)]
pub(crate) enum PenaltyArgument {
    Value(f64),
    Name(String),
}

/// Changepoints, cost of every segment, penalty, noise variance and its autocorrelation, search that ran.
type Found<'py> =
    (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f64>>, Option<f64>, Option<f64>, Option<f64>, &'static str);

#[pyfunction]
#[pyo3(signature = (x, signal, *, cost, search, penalty, n_changepoints, min_size, jump, width, shape, order, threads))]
#[expect(clippy::too_many_arguments, reason = "one for each option of the Python function")]
fn detect<'py>(
    py: Python<'py>,
    x: PyReadonlyArray1<'py, f64>,
    signal: PyReadonlyArray2<'py, f64>,
    cost: &str,
    search: &str,
    penalty: PenaltyArgument,
    n_changepoints: Option<usize>,
    min_size: usize,
    jump: usize,
    width: Option<usize>,
    shape: &str,
    order: usize,
    threads: Option<usize>,
) -> PyResult<Found<'py>> {
    let request = request(cost, search, penalty, n_changepoints, min_size, jump, order)
        .and_then(|request| Ok(Request { width, shape: Shape::from_name(shape)?, ..request }))
        .map_err(|error| to_python(py, error))?;
    let x = x.as_slice().map_or_else(|_| Cow::Owned(x.as_array().to_vec()), Cow::Borrowed);
    let signal = signal.as_array();
    let search = |cancel: &Cancel| changepoint::detect(&x, signal, request, cancel);
    let short = request.is_short(signal.ncols(), signal.nrows());
    let found = if short { compute_briefly(py, threads, search)? } else { compute(py, threads, search)? };
    Ok((
        PyArray1::from_iter(py, found.changepoints.iter().map(|&changepoint| changepoint as i64)),
        PyArray1::from_vec(py, found.costs),
        found.penalty,
        found.noise_variance,
        found.autocorrelation,
        found.search.name(),
    ))
}

/// The least samples of a segment, with what the cost and penalty "auto" raise it to.
#[pyfunction]
#[pyo3(signature = (*, cost, penalty, n_changepoints, min_size, order, features))]
fn least_segment(
    py: Python<'_>,
    cost: &str,
    penalty: PenaltyArgument,
    n_changepoints: Option<usize>,
    min_size: usize,
    order: usize,
    features: usize,
) -> PyResult<usize> {
    let request = request(cost, "auto", penalty, n_changepoints, min_size, 1, order);
    Ok(request.map_err(|error| to_python(py, error))?.least_segment(features))
}

/// First and last sample at which the segment of each changepoint may begin, flat.
#[pyfunction]
#[pyo3(signature = (x, signal, changepoints, *, cost, min_size, order, lasting, level))]
#[expect(clippy::too_many_arguments, reason = "one for each option of the Python function")]
fn place_intervals<'py>(
    py: Python<'py>,
    x: PyReadonlyArray1<'py, f64>,
    signal: PyReadonlyArray2<'py, f64>,
    changepoints: Vec<usize>,
    cost: &str,
    min_size: usize,
    order: usize,
    lasting: bool,
    level: f64,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let request = request_of_cost(py, cost, min_size, order, lasting)?;
    let x = x.as_array().to_vec();
    let signal = signal.as_array();
    let places = |cancel: &Cancel| changepoint::place_intervals(&x, signal, &changepoints, request, level, cancel);
    // Every place is priced once between its neighbours: less than a search does at worst.
    let short = request.is_short(signal.ncols(), signal.nrows());
    let found = if short { compute_briefly(py, Some(1), places)? } else { compute(py, Some(1), places)? };
    Ok(PyArray1::from_iter(py, found.into_iter().flat_map(|(first, last)| [first as i64, last as i64])))
}

/// The p-value of each changepoint between its neighbours.
#[pyfunction]
#[pyo3(signature = (x, signal, changepoints, *, cost, min_size, order, lasting, threads))]
#[expect(clippy::too_many_arguments, reason = "one for each option of the Python function")]
fn existence_p_values<'py>(
    py: Python<'py>,
    x: PyReadonlyArray1<'py, f64>,
    signal: PyReadonlyArray2<'py, f64>,
    changepoints: Vec<usize>,
    cost: &str,
    min_size: usize,
    order: usize,
    lasting: bool,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let request = request_of_cost(py, cost, min_size, order, lasting)?;
    let x = x.as_array().to_vec();
    let signal = signal.as_array();
    let found = compute(py, threads, |cancel| changepoint::existence(&x, signal, &changepoints, request, cancel))?;
    Ok(PyArray1::from_vec(py, found))
}

/// Of what asks about changepoints already found: their cost, no search, and the penalty only as what it assumes of noise.
fn request_of_cost(py: Python<'_>, cost: &str, min_size: usize, order: usize, lasting: bool) -> PyResult<Request> {
    let penalty = if lasting { PenaltyArgument::Name("auto".into()) } else { PenaltyArgument::Value(0.0) };
    request(cost, "auto", penalty, None, min_size, 1, order).map_err(|error| to_python(py, error))
}

pub(crate) fn request(
    cost: &str,
    search: &str,
    penalty: PenaltyArgument,
    n_changepoints: Option<usize>,
    min_size: usize,
    jump: usize,
    order: usize,
) -> phaseflow_core::Result<Request> {
    let penalty = match penalty {
        PenaltyArgument::Value(value) => Penalty::Value(value),
        PenaltyArgument::Name(name) => Penalty::from_name(&name)?,
    };
    let (cost, search) = (CostName::from_name(cost)?, SearchName::from_name(search)?);
    let (width, shape) = (None, Shape::Any);
    Ok(Request { cost, search, penalty, n_changepoints, min_size, jump, width, shape, order })
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(detect, module)?)?;
    module.add_function(wrap_pyfunction!(least_segment, module)?)?;
    module.add_function(wrap_pyfunction!(place_intervals, module)?)?;
    module.add_function(wrap_pyfunction!(existence_p_values, module)?)?;
    crate::changepoint_many::register(module)?;
    crate::changepoint_online::register(module)?;
    module.add_class::<WindowDetector>()
}
