//! Bindings of the batch functions of `phaseflow_core::changepoint`.

use ndarray::{ArrayViewD, Ix1, Ix3};
use numpy::{PyArray1, PyReadonlyArray1};
use phaseflow_core::changepoint::{Change, Direction, Request, Series, Shape, Single, detect_many, single_change};
use phaseflow_core::tensor::Element;
use phaseflow_core::{Error, Result, with_view};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::array::BorrowedTensor;
use crate::changepoint::{PenaltyArgument, request};
use crate::compute::compute;
use crate::error::to_python;

/// `array` as a batch: (series, sample, feature), or (total,) cut at `offsets`.
fn batch<'a, E: Element>(array: ArrayViewD<'a, E>, offsets: Option<&'a [usize]>) -> Result<Series<'a, E>> {
    let got = array.ndim();
    let wrong = |expected| move |_| Error::WrongRank { argument: "signals", expected, got };
    match offsets {
        None => Ok(Series::Rows(array.into_dimensionality::<Ix3>().map_err(wrong("(series, sample, feature)"))?)),
        Some(offsets) => {
            let values = array.into_dimensionality::<Ix1>().map_err(wrong("(total,)"))?;
            Ok(Series::Pieces { values, offsets })
        }
    }
}

fn indices(offsets: Option<PyReadonlyArray1<'_, u64>>) -> Option<Vec<usize>> {
    offsets.map(|offsets| offsets.as_array().iter().map(|&offset| offset as usize).collect())
}

fn columns<'py>(py: Python<'py>, changes: &[Change]) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyDict::new(py);
    let count =
        |value: fn(&Change) -> usize| PyArray1::from_iter(py, changes.iter().map(|change| value(change) as i64));
    columns.set_item("series", count(|change| change.series))?;
    columns.set_item("changepoint", count(|change| change.changepoint))?;
    let number = |value: fn(&Change) -> f64| PyArray1::from_iter(py, changes.iter().map(value));
    columns.set_item("before", number(|change| change.before))?;
    columns.set_item("after", number(|change| change.after))?;
    columns.set_item("size", number(|change| change.size))?;
    columns.set_item("p_value", number(|change| change.p_value))?;
    Ok(columns)
}

/// Columns of the changepoints of every series.
#[pyfunction]
#[pyo3(signature = (x, signals, offsets, *, cost, search, penalty, n_changepoints, min_size, jump, shape, order, threads))]
#[expect(clippy::too_many_arguments, reason = "one for each option of the Python function")]
fn detect_series<'py>(
    py: Python<'py>,
    x: PyReadonlyArray1<'py, f64>,
    signals: &Bound<'py, PyAny>,
    offsets: Option<PyReadonlyArray1<'py, u64>>,
    cost: &str,
    search: &str,
    penalty: PenaltyArgument,
    n_changepoints: Option<usize>,
    min_size: usize,
    jump: usize,
    shape: &str,
    order: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let request = request(cost, search, penalty, n_changepoints, min_size, jump, order)
        .and_then(|request| Ok(Request { shape: Shape::from_name(shape)?, ..request }))
        .map_err(|error| to_python(py, error))?;
    let x = x.as_array().to_vec();
    let offsets = indices(offsets);
    let signals = BorrowedTensor::borrow("signals", signals)?;
    let view = signals.view();
    let changes = compute(py, threads, |cancel| {
        with_view!(view, |array| detect_many(batch(array, offsets.as_deref())?, &x, request, cancel))
    })?;
    columns(py, &changes)
}

/// Columns of the clearest change of every series that has one.
#[pyfunction]
#[pyo3(signature = (signals, offsets, *, direction, min_size, threads))]
fn single_changes<'py>(
    py: Python<'py>,
    signals: &Bound<'py, PyAny>,
    offsets: Option<PyReadonlyArray1<'py, u64>>,
    direction: &str,
    min_size: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let direction = Direction::from_name(direction).map_err(|error| to_python(py, error))?;
    let offsets = indices(offsets);
    let signals = BorrowedTensor::borrow("signals", signals)?;
    let view = signals.view();
    let changes = compute(py, threads, |cancel| {
        let found =
            with_view!(view, |array| single_change(batch(array, offsets.as_deref())?, direction, min_size, cancel))?;
        let change = |(series, found): (usize, Option<Single>)| {
            let Single { changepoint, before, after, p_value } = found?;
            Some(Change { series, changepoint, before, after, size: after - before, p_value })
        };
        Ok(found.into_iter().enumerate().filter_map(change).collect::<Vec<_>>())
    })?;
    columns(py, &changes)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(detect_series, module)?)?;
    module.add_function(wrap_pyfunction!(single_changes, module)?)
}
