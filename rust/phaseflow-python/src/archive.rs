//! Bindings of `phaseflow_core::archive`: shards in and out, whole-file writes, checksums.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use numpy::PyReadonlyArray1;
use phaseflow_core::archive::{self, ElementType, Entry, Header, NewTensor, Shard};
use pyo3::prelude::*;

use crate::compute::{compute, compute_watched};
use crate::error::{exception, to_python};
use crate::stored::PyStoredTensor;

/// name, dtype, shape, offset, length, checksum
type EntryTuple = (String, String, Vec<usize>, usize, usize, Option<String>);

fn entry_tuples(header: &Header) -> Vec<EntryTuple> {
    let tuple = |entry: &Entry| {
        let Entry { name, dtype, shape, offset, length, checksum } = entry.clone();
        (name, dtype.name(), shape, offset, length, checksum)
    };
    header.entries.iter().map(tuple).collect()
}

/// The checked header of a shard: entries, notes, and whether phaseflow sealed it.
#[pyfunction]
fn read_shard_header(py: Python<'_>, path: PathBuf) -> PyResult<(Vec<EntryTuple>, BTreeMap<String, String>, bool)> {
    let header = py.detach(|| Header::read(&path)).map_err(|error| to_python(py, error))?;
    Ok((entry_tuples(&header), header.notes, header.sealed))
}

/// Writes a shard whole or not at all; `tensors` holds (name, dtype, shape, bytes as a contiguous uint8 array).
#[pyfunction]
fn write_shard(
    py: Python<'_>,
    path: PathBuf,
    tensors: Vec<(String, String, Vec<usize>, PyReadonlyArray1<'_, u8>)>,
    notes: BTreeMap<String, String>,
) -> PyResult<Vec<EntryTuple>> {
    let new = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            let dtype = ElementType::from_name(dtype)
                .ok_or_else(|| exception(py, "DtypeError", format!("{name} has dtype {dtype}, which is not stored")))?;
            Ok(NewTensor { name: name.clone(), dtype, shape: shape.clone(), bytes: bytes.as_slice()? })
        })
        .collect::<PyResult<Vec<_>>>()?;
    let header = compute(py, None, |_| archive::write_shard(&path, new, &notes))?;
    Ok(entry_tuples(&header))
}

/// Puts `content` at `path` whole or not at all.
#[pyfunction]
fn write_file(py: Python<'_>, path: PathBuf, content: &[u8]) -> PyResult<()> {
    py.detach(|| archive::write_file(&path, |out| out.write_all(content))).map_err(|error| to_python(py, error))
}

/// XXH3-64 of the bytes, 16 hexadecimal digits.
#[pyfunction]
fn checksum(content: &[u8]) -> String {
    archive::checksum(content)
}

/// An open shard; its tensors keep the file mapped.
#[pyclass(name = "Shard", module = "phaseflow._core", frozen)]
struct PyShard(Shard);

#[pymethods]
impl PyShard {
    #[new]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| Shard::open(&path)).map(Self).map_err(|error| to_python(py, error))
    }

    #[getter]
    fn entries(&self) -> Vec<EntryTuple> {
        entry_tuples(self.0.header())
    }

    #[getter]
    fn notes(&self) -> BTreeMap<String, String> {
        self.0.header().notes.clone()
    }

    fn tensor(&self, py: Python<'_>, name: &str) -> PyResult<PyStoredTensor> {
        self.0.tensor(name).map(PyStoredTensor::from).map_err(|error| to_python(py, error))
    }

    /// (name, expected, found) of every tensor whose bytes no longer have their checksum; `progress` is called with the
    /// bytes read so far.
    #[pyo3(signature = (progress=None))]
    fn verify(&self, py: Python<'_>, progress: Option<Py<PyAny>>) -> PyResult<Vec<(String, String, String)>> {
        let done = AtomicU64::new(0);
        let watch = |py: Python<'_>| match &progress {
            Some(progress) => progress.call1(py, (done.load(Ordering::Relaxed),)).map(drop),
            None => Ok(()),
        };
        compute_watched(py, None, |cancel| self.0.verify(&done, cancel), watch)
    }
}

/// Whether so many bytes, once read, may stay in the system's cache.
#[pyfunction]
fn may_stay_cached(bytes: usize) -> bool {
    archive::may_stay_cached(bytes)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyShard>()?;
    module.add_class::<PyStoredTensor>()?;
    module.add_function(wrap_pyfunction!(read_shard_header, module)?)?;
    module.add_function(wrap_pyfunction!(write_shard, module)?)?;
    module.add_function(wrap_pyfunction!(write_file, module)?)?;
    module.add_function(wrap_pyfunction!(checksum, module)?)?;
    module.add_function(wrap_pyfunction!(may_stay_cached, module)?)?;
    Ok(())
}
