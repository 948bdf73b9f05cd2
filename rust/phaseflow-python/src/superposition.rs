//! Bindings of `phaseflow_core::superposition`.

use numpy::{IntoPyArray, PyArray1, PyArrayDyn};
use phaseflow_core::superposition;
use pyo3::prelude::*;

use crate::array::BorrowedTensor;
use crate::compute::compute;

type Array<'py> = Bound<'py, PyArrayDyn<f64>>;

/// `phaseflow.feature_dimensionality`, `(..., feature)`.
#[pyfunction]
#[pyo3(signature = (w, threads))]
fn feature_dimensionality<'py>(py: Python<'py>, w: &Bound<'py, PyAny>, threads: Option<usize>) -> PyResult<Array<'py>> {
    let w = BorrowedTensor::borrow("W", w)?;
    let w = w.view();
    let found = compute(py, threads, |cancel| superposition::feature_dimensionality(&w, cancel))?;
    Ok(found.into_pyarray(py))
}

/// Norm, dimensionality, interference and leverage, each `(..., feature)`.
#[pyfunction]
#[pyo3(signature = (w, threads))]
#[allow(clippy::type_complexity)] // four alike
fn feature_measures<'py>(
    py: Python<'py>,
    w: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<(Array<'py>, Array<'py>, Array<'py>, Array<'py>)> {
    let w = BorrowedTensor::borrow("W", w)?;
    let w = w.view();
    let found = compute(py, threads, |cancel| superposition::features(&w, cancel))?;
    Ok((
        found.norm.into_pyarray(py),
        found.dimensionality.into_pyarray(py),
        found.interference.into_pyarray(py),
        found.leverage.into_pyarray(py),
    ))
}

/// Component, corners, name and certainty of every feature, matrix after matrix.
#[pyfunction]
#[pyo3(signature = (w, learned, edge, tolerance, threads))]
#[allow(clippy::type_complexity)] // the columns of a table
fn feature_geometry<'py>(
    py: Python<'py>,
    w: &Bound<'py, PyAny>,
    learned: f64,
    edge: f64,
    tolerance: f64,
    threads: Option<usize>,
) -> PyResult<(Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Vec<String>, Bound<'py, PyArray1<f64>>)> {
    let w = BorrowedTensor::borrow("W", w)?;
    let w = w.view();
    let found = compute(py, threads, |cancel| superposition::geometry(&w, learned, edge, tolerance, cancel))?;
    Ok((
        found.iter().map(|figure| figure.component as i64).collect::<Vec<_>>().into_pyarray(py),
        found.iter().map(|figure| figure.corners as i64).collect::<Vec<_>>().into_pyarray(py),
        found.iter().map(|figure| figure.shape.name()).collect(),
        found.iter().map(|figure| figure.certainty).collect::<Vec<_>>().into_pyarray(py),
    ))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(feature_dimensionality, module)?)?;
    module.add_function(wrap_pyfunction!(feature_measures, module)?)?;
    module.add_function(wrap_pyfunction!(feature_geometry, module)?)?;
    Ok(())
}
