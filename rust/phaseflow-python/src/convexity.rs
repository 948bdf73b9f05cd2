//! Bindings of `phaseflow_core::changepoint::convexity`.

use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use phaseflow_core::changepoint::convexity::{Bump, ConvexityTest, Options};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::compute::compute;

/// A prepared grid; Python keeps the last few, because their simulated distributions are worth keeping.
#[pyclass(name = "ConvexityTest", frozen, module = "phaseflow._core")]
struct PyConvexityTest(ConvexityTest);

#[pymethods]
impl PyConvexityTest {
    #[new]
    #[pyo3(signature = (x, variance, *, simulations, seed))]
    fn new(
        py: Python<'_>,
        x: PyReadonlyArray1<'_, f64>,
        variance: Option<PyReadonlyArray1<'_, f64>>,
        simulations: usize,
        seed: u64,
    ) -> PyResult<Self> {
        let (x, variance) = (x.as_array().to_vec(), variance.map(|variance| variance.as_array().to_vec()));
        let options = Options { simulations, seed };
        compute(py, None, |cancel| ConvexityTest::new(&x, variance.as_deref(), options, cancel)).map(Self)
    }

    /// Columns of the table of stretches as a dict of arrays, start and end as samples; and every series' p-value.
    #[pyo3(signature = (curves, *, level, threads))]
    fn bumps<'py>(
        &self,
        py: Python<'py>,
        curves: PyReadonlyArray2<'py, f64>,
        level: f64,
        threads: Option<usize>,
    ) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyArray1<f64>>)> {
        let curves = curves.as_array();
        let found = compute(py, threads, |cancel| self.0.bumps(curves, level, cancel))?;
        let rows: Vec<(usize, Bump)> = found
            .iter()
            .enumerate()
            .flat_map(|(series, (_, bumps))| bumps.iter().map(move |bump| (series, *bump)))
            .collect();
        let columns = PyDict::new(py);
        let whole = |name: &str, value: fn(&(usize, Bump)) -> usize| {
            columns.set_item(name, PyArray1::from_iter(py, rows.iter().map(|row| value(row) as i64)))
        };
        whole("series", |row| row.0)?;
        whole("start", |row| row.1.start)?;
        whole("end", |row| row.1.end)?;
        let number = |name: &str, value: fn(&Bump) -> f64| {
            columns.set_item(name, PyArray1::from_iter(py, rows.iter().map(|row| value(&row.1))))
        };
        number("size", |bump| bump.size)?;
        number("standard_error", |bump| bump.standard_error)?;
        number("p_value", |bump| bump.p_value)?;
        Ok((columns, PyArray1::from_iter(py, found.iter().map(|(p_value, _)| *p_value))))
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyConvexityTest>()
}
