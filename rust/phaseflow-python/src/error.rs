//! Rust errors as the Python classes of `phaseflow.exceptions`, and I/O errors as the builtin ones.

use phaseflow_core::Error;
use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError};
use pyo3::prelude::*;

/// An instance of the class `name` of `phaseflow.exceptions`.
pub(crate) fn exception(py: Python<'_>, name: &str, message: String) -> PyErr {
    let class = py.import("phaseflow.exceptions").and_then(|module| module.getattr(name));
    match class.and_then(|class| class.call1((message,))) {
        Ok(instance) => PyErr::from_value(instance),
        Err(error) => error,
    }
}

/// The Python exception that says what `error` says.
pub(crate) fn to_python(py: Python<'_>, error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::WrongRank { .. } | Error::ShapeMismatch { .. } | Error::TooShort { .. } => {
            exception(py, "ShapeError", message)
        }
        Error::OutOfRange { .. } | Error::Unsupported { .. } => exception(py, "ParameterError", message),
        Error::NotFinite { .. } => exception(py, "NotFiniteError", message),
        Error::UnknownName { .. } => exception(py, "UnknownNameError", message),
        Error::Corrupt { .. } => exception(py, "CorruptArchiveError", message),
        Error::Io { file, source } => match source.raw_os_error() {
            // OSError(errno, text, file) picks FileNotFoundError, PermissionError, ... by itself.
            Some(code) => PyOSError::new_err((code, source.to_string(), file.display().to_string())),
            None => PyOSError::new_err(message),
        },
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
    }
}
