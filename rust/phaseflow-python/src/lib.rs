//! `phaseflow._core`: read-only views in, the GIL released, one call, the result moved out.

mod archive;
mod array;
mod attention;
mod changepoint;
mod changepoint_many;
mod changepoint_online;
mod circuit;
mod compute;
mod convexity;
mod error;
mod loss;
mod scan;
mod stored;
mod superposition;

use pyo3::prelude::*;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    archive::register(module)?;
    attention::register(module)?;
    changepoint::register(module)?;
    circuit::register(module)?;
    convexity::register(module)?;
    loss::register(module)?;
    scan::register(module)?;
    superposition::register(module)?;
    Ok(())
}
