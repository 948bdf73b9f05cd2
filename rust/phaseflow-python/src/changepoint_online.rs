//! Bindings of `phaseflow_core::changepoint::online`.

use numpy::{PyArray1, PyReadonlyArray1};
use phaseflow_core::changepoint::online::{self, Change, Moments, Observation, Row, RunLengths, Settings, Watch};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::compute::compute;
use crate::error::to_python;

fn run_lengths(
    observation: &str,
    prior: Vec<(String, f64)>,
    expected_length: f64,
    min_size: usize,
    least: f64,
    most: usize,
) -> phaseflow_core::Result<RunLengths> {
    let settings = Settings { hazard: 1.0 / expected_length, min_size, least, most };
    RunLengths::new(Observation::new(observation, &prior)?, settings)
}

/// A detector that is fed one sample at a time.
#[pyclass(module = "phaseflow._core")]
struct OnlineRuns {
    runs: RunLengths,
    watch: Watch,
}

/// Count, mean, sum of squared deviations.
type Three = (f64, f64, f64);

#[pymethods]
impl OnlineRuns {
    #[new]
    #[pyo3(signature = (observation, prior, *, expected_length, min_size, least, most, certainty, level))]
    #[expect(clippy::too_many_arguments, reason = "one for each option of the Python class")]
    fn new(
        py: Python<'_>,
        observation: &str,
        prior: Vec<(String, f64)>,
        expected_length: f64,
        min_size: usize,
        least: f64,
        most: usize,
        certainty: f64,
        level: f64,
    ) -> PyResult<Self> {
        run_lengths(observation, prior, expected_length, min_size, least, most)
            .and_then(|runs| Ok(Self { runs, watch: Watch { certainty, level, from: 1 }.check()? }))
            .map_err(|error| to_python(py, error))
    }

    /// Takes in a sample; the change it makes sure, as (sample, x, lower, upper, probability, before, after).
    #[expect(clippy::type_complexity, reason = "the fields of a Change")]
    fn update(
        &mut self,
        py: Python<'_>,
        x: f64,
        value: f64,
    ) -> PyResult<Option<(usize, f64, f64, f64, f64, Three, Three)>> {
        self.runs.update(x, value).map_err(|error| to_python(py, error))?;
        let three = |moments: Moments| (moments.count, moments.mean, moments.squares);
        Ok(self.watch.announce(&mut self.runs).map(|change| {
            let Change { sample, x, lower, upper, probability, before, after } = change;
            (sample, x, lower, upper, probability, three(before), three(after))
        }))
    }

    /// Probability that a segment began since the last announcement.
    #[getter]
    fn probability(&self) -> f64 {
        self.watch.probability(&self.runs)
    }

    /// Log probability of all samples so far.
    #[getter]
    fn log_evidence(&self) -> f64 {
        self.runs.log_evidence()
    }

    /// Samples so far.
    #[getter]
    fn count(&self) -> usize {
        self.runs.count()
    }

    /// `(start, probability)` of every start that is kept.
    fn posterior<'py>(&self, py: Python<'py>) -> (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f64>>) {
        let (samples, probabilities): (Vec<i64>, Vec<f64>) =
            self.runs.posterior().map(|(sample, probability)| (sample as i64, probability)).unzip();
        (PyArray1::from_vec(py, samples), PyArray1::from_vec(py, probabilities))
    }

    /// All that changed with the samples: from where a segment is new, and the recursion's numbers.
    fn store(&self) -> (usize, Vec<f64>) {
        (self.watch.from, self.runs.store())
    }

    /// Takes the place of all samples so far; on an error nothing has changed.
    fn restore(&mut self, py: Python<'_>, since: usize, numbers: Vec<f64>) -> PyResult<()> {
        let restored = self.runs.clone().restore(&numbers).and_then(|runs| Ok((self.watch.since(since, &runs)?, runs)));
        (self.watch, self.runs) = restored.map_err(|error| to_python(py, error))?;
        Ok(())
    }
}

/// Columns `sample`, `start`, `probability`, and the log evidence.
#[pyfunction]
#[pyo3(signature = (x, signal, observation, prior, *, expected_length, min_size, least, most, shown))]
#[expect(clippy::too_many_arguments, reason = "one for each option of the Python function")]
fn run_length_posterior<'py>(
    py: Python<'py>,
    x: PyReadonlyArray1<'py, f64>,
    signal: PyReadonlyArray1<'py, f64>,
    observation: &str,
    prior: Vec<(String, f64)>,
    expected_length: f64,
    min_size: usize,
    least: f64,
    most: usize,
    shown: f64,
) -> PyResult<(Bound<'py, PyDict>, f64)> {
    let runs = run_lengths(observation, prior, expected_length, min_size, least, most)
        .map_err(|error| to_python(py, error))?;
    let (x, signal) = (x.as_array().to_vec(), signal.as_array().to_vec());
    let found = compute(py, Some(1), |cancel| online::posterior(runs, &x, &signal, shown, cancel))?;
    let columns = PyDict::new(py);
    let whole = |value: fn(&Row) -> usize| PyArray1::from_iter(py, found.rows.iter().map(|row| value(row) as i64));
    columns.set_item("sample", whole(|row| row.sample))?;
    columns.set_item("start", whole(|row| row.start))?;
    columns.set_item("probability", PyArray1::from_iter(py, found.rows.iter().map(|row| row.probability)))?;
    Ok((columns, found.log_evidence))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(run_length_posterior, module)?)?;
    module.add_class::<OnlineRuns>()
}
