//! `StoredTensor`: a tensor of a mapped file, readable by numpy without a copy and by kernels without numpy.

use std::ops::Range;
use std::os::raw::{c_int, c_void};
use std::path::PathBuf;

use numpy::{PyArrayMethods, ToPyArray};
use phaseflow_core::archive::{ElementType, StoredTensor};
use phaseflow_core::tensor::{Dtype, Element};
use phaseflow_core::with_view;
use pyo3::exceptions::{PyBufferError, PyImportError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyTuple};

use crate::error::{exception, to_python};

/// A read-only tensor where it lies on disk; `numpy.asarray` views it.
#[pyclass(name = "StoredTensor", module = "phaseflow._core", frozen)]
pub(crate) struct PyStoredTensor(StoredTensor);

impl From<StoredTensor> for PyStoredTensor {
    fn from(tensor: StoredTensor) -> Self {
        Self(tensor)
    }
}

impl PyStoredTensor {
    pub(crate) fn tensor(&self) -> &StoredTensor {
        &self.0
    }
}

#[pymethods]
impl PyStoredTensor {
    /// The name it was logged under.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// Length of every axis.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.shape())
    }

    /// numpy's name of the element type.
    #[getter]
    fn dtype(&self) -> String {
        self.0.dtype().name()
    }

    /// Number of axes.
    #[getter]
    fn ndim(&self) -> usize {
        self.0.shape().len()
    }

    /// Bytes on disk.
    #[getter]
    fn nbytes(&self) -> usize {
        self.0.length()
    }

    /// An array in a file of any format: row-major, little endian, from byte `offset` on.
    #[staticmethod]
    fn in_file(
        py: Python<'_>,
        path: PathBuf,
        name: &str,
        dtype: &str,
        shape: Vec<usize>,
        offset: usize,
    ) -> PyResult<Self> {
        match ElementType::from_name(dtype) {
            Some(ElementType::Float(dtype)) => StoredTensor::in_file(&path, name, dtype, &shape, offset)
                .map(Self)
                .map_err(|error| to_python(py, error)),
            _ => Err(exception(py, "DtypeError", format!("{name} has dtype {dtype}, which no measure takes"))),
        }
    }

    /// The part with these indices along the first axes, where it lies.
    fn part(&self, py: Python<'_>, indices: Vec<usize>) -> PyResult<Self> {
        self.0.part(&indices).map(Self).map_err(|error| to_python(py, error))
    }

    /// The same numbers in the same order, with other axes.
    fn reshape(&self, py: Python<'_>, shape: Vec<usize>) -> PyResult<Self> {
        self.0.reshape(&shape).map(Self).map_err(|error| to_python(py, error))
    }

    /// Asks the system to read the elements `start..stop`, in row-major order, ahead of their use.
    fn prefetch(&self, start: usize, stop: usize) {
        self.0.prefetch(self.span(start, stop));
    }

    /// Reads it into memory of its own, unless the system's memory holds it already.
    fn load(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.load()).map_err(|error| to_python(py, error))
    }

    /// Gives back what is mapped of the elements `start..stop`; unless it stays cached, the system's memory of them too.
    fn release(&self, start: usize, stop: usize, stays_cached: bool) {
        match stays_cached {
            true => self.0.unload(self.span(start, stop)),
            false => self.0.forget(self.span(start, stop)),
        }
    }

    fn __repr__(&self) -> String {
        format!("StoredTensor(name={:?}, dtype={:?}, shape={:?})", self.0.name(), self.dtype(), self.0.shape())
    }

    /// A read-only array over the file's bytes. bfloat16 needs `ml_dtypes` for that; without it the values are copied to float32.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let numpy = py.import("numpy")?;
        let element = match slf.get().0.dtype() {
            ElementType::Float(Dtype::Bf16) => match py.import("ml_dtypes") {
                Ok(module) => module.getattr("bfloat16")?,
                Err(error) if error.is_instance_of::<PyImportError>(py) => {
                    return slf.get().widened(py, dtype, copy);
                }
                Err(error) => return Err(error),
            },
            other => other.name().into_pyobject(py)?.into_any(),
        };
        let element = numpy.getattr("dtype")?.call1((element,))?;
        let bytes = Bound::new(py, StoredBytes(slf.get().0.clone()))?;
        let buffer = [("buffer", bytes)].into_py_dict(py)?;
        let array = numpy.getattr("ndarray")?.call((slf.get().shape(py)?, element), Some(&buffer))?;
        // numpy's own rules decide whether the caller gets this view, a copy or an error.
        let options = [("dtype", dtype.into_pyobject(py)?.into_any()), ("copy", copy.into_pyobject(py)?.into_any())];
        numpy.getattr("array")?.call((array,), Some(&options.into_py_dict(py)?))
    }
}

impl PyStoredTensor {
    /// The bytes of the elements `start..stop`, as far as there are any.
    fn span(&self, start: usize, stop: usize) -> Range<usize> {
        let byte = |element: usize| element.saturating_mul(self.0.element_size()).min(self.0.length());
        byte(start)..byte(stop.max(start))
    }

    fn widened<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if copy == Some(false) {
            return Err(PyValueError::new_err(
                "bfloat16 cannot be viewed by numpy alone; install ml_dtypes, or allow a copy",
            ));
        }
        let view = self.0.view().map_err(|error| to_python(py, error))?;
        let array = with_view!(view, |array| array.mapv(Element::to_f32)).to_pyarray(py);
        match dtype {
            Some(dtype) => array.call_method1("astype", (dtype,)),
            None => Ok(array.to_dyn().clone().into_any()),
        }
    }
}

/// The bytes of a stored tensor through the buffer protocol. A class of its own: numpy would take the bytes of a `StoredTensor` that
/// offered them instead of calling its `__array__`.
#[pyclass(module = "phaseflow._core", frozen)]
struct StoredBytes(StoredTensor);

#[pymethods]
impl StoredBytes {
    // SAFETY: CPython hands in a pointer to a `Py_buffer` to fill, or null.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no buffer to fill"));
        }
        let bytes = slf.get().0.bytes();
        let length = ffi::Py_ssize_t::try_from(bytes.len()).map_err(|_| PyBufferError::new_err("too long"))?;
        // SAFETY: `view` is not null; the bytes belong to a frozen object which the view keeps alive, stay where they are as long as it lives, and are
        // offered read-only.
        let status = unsafe {
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), bytes.as_ptr().cast_mut().cast::<c_void>(), length, 1, flags)
        };
        if status == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
