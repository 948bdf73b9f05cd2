//! numpy arrays and stored tensors as borrowed tensors, without a copy.
//!
//! Strided, negative-stride, read-only and empty arrays pass; a misaligned or byte-swapped one is refused by name,
//! because a borrowed view of it would be unsound or wrong.

use half::{bf16, f16};
use numpy::{PyArrayDescrMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use phaseflow_core::archive::StoredTensor;
use phaseflow_core::tensor::TensorView;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::exception;
use crate::stored::PyStoredTensor;

/// A borrowed numpy array, or a tensor in a mapped file, of one of the four element types; [`BorrowedTensor::view`] opens it.
pub(crate) enum BorrowedTensor<'py> {
    F16(PyReadonlyArrayDyn<'py, f16>),
    Bf16(PyReadonlyArrayDyn<'py, bf16>),
    F32(PyReadonlyArrayDyn<'py, f32>),
    F64(PyReadonlyArrayDyn<'py, f64>),
    Stored(StoredTensor),
}

impl<'py> BorrowedTensor<'py> {
    /// Borrows `object`: a `StoredTensor`, or what the caller's Python side has already made an `ndarray`.
    pub(crate) fn borrow(argument: &'static str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(stored) = object.cast::<PyStoredTensor>() {
            let tensor = stored.get().tensor().clone();
            // Found out here, so that `view` below cannot fail.
            tensor.view().map_err(|error| exception(object.py(), "DtypeError", format!("{argument}: {error}")))?;
            return Ok(Self::Stored(tensor));
        }
        let array = object.cast::<PyUntypedArray>().map_err(|_| {
            PyTypeError::new_err(format!("{argument} must be a numpy array, got {}", object.get_type()))
        })?;
        let flags = object.getattr("flags")?;
        if !flags.getattr("aligned")?.is_truthy()? {
            return Err(exception(
                object.py(),
                "DtypeError",
                format!("{argument} is not aligned in memory; pass numpy.require({argument}, requirements=\"A\")"),
            ));
        }
        let dtype = array.dtype();
        let name: String = dtype.getattr("name")?.extract()?;
        let native = dtype.is_native_byteorder().unwrap_or(true);
        match (name.as_str(), native) {
            ("float16", true) => Ok(Self::F16(object.extract()?)),
            ("bfloat16", true) => Ok(Self::Bf16(object.extract()?)),
            ("float32", true) => Ok(Self::F32(object.extract()?)),
            ("float64", true) => Ok(Self::F64(object.extract()?)),
            _ => Err(exception(
                object.py(),
                "DtypeError",
                format!(
                    "{argument} has dtype {}, expected float16, bfloat16, float32 or float64 in native byte order; \
                     convert it with {argument}.astype(\"float32\")",
                    dtype.str()?
                ),
            )),
        }
    }

    /// The strided view; it lives as long as the borrow.
    pub(crate) fn view(&self) -> TensorView<'_> {
        match self {
            Self::F16(array) => TensorView::F16(array.as_array()),
            Self::Bf16(array) => TensorView::Bf16(array.as_array()),
            Self::F32(array) => TensorView::F32(array.as_array()),
            Self::F64(array) => TensorView::F64(array.as_array()),
            Self::Stored(tensor) => tensor.view().expect("viewed once when it was borrowed"),
        }
    }
}
