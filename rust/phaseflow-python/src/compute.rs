//! The one way a binding computes: GIL released, thread count honoured, Ctrl-C watched, errors mapped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use phaseflow_core::{Cancel, Error, Result};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::to_python;

/// How often the waiting thread looks for Ctrl-C.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);

/// Runs `kernel` on `threads` rayon threads (all of them when `None`) while this thread waits without the GIL.
///
/// `kernel` polls the [`Cancel`] it is given; on Ctrl-C that flag is raised and `KeyboardInterrupt` comes back.
pub(crate) fn compute<T, F>(py: Python<'_>, threads: Option<usize>, kernel: F) -> PyResult<T>
where
    T: Send,
    F: FnOnce(&Cancel) -> Result<T> + Send,
{
    compute_watched(py, threads, kernel, |_| Ok(()))
}

/// The same for a kernel that is through before anybody would press Ctrl-C, and uses one thread: this one. To start
/// another takes longer than many a short kernel.
pub(crate) fn compute_briefly<T, F>(py: Python<'_>, threads: Option<usize>, kernel: F) -> PyResult<T>
where
    T: Send,
    F: FnOnce(&Cancel) -> Result<T> + Send,
{
    let outcome = py.detach(|| {
        let run = || at_least_one(threads).and_then(|_| kernel(&Cancel::new()));
        // Nothing that a panic may have left half done is looked at again.
        catch_unwind(AssertUnwindSafe(run))
    });
    settle(py, outcome)
}

/// The same as [`compute`]; the waiting thread calls `watch` now and then, with the GIL. An exception from it stops the kernel.
pub(crate) fn compute_watched<T, F, W>(py: Python<'_>, threads: Option<usize>, kernel: F, watch: W) -> PyResult<T>
where
    T: Send,
    F: FnOnce(&Cancel) -> Result<T> + Send,
    W: Fn(Python<'_>) -> PyResult<()> + Sync,
{
    let cancel = Cancel::new();
    let outcome = py.detach(|| {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(1);
            let cancel = &cancel;
            let worker = scope.spawn(move || {
                let result = with_threads(threads, || kernel(cancel));
                // The receiver is gone only if the waiting thread unwound; there is nobody left to tell.
                let _ = sender.send(());
                result
            });
            let mut interrupted = None;
            while let Err(RecvTimeoutError::Timeout) = receiver.recv_timeout(SIGNAL_CHECK) {
                if interrupted.is_none()
                    && let Err(signal) = Python::attach(|py| py.check_signals().and_then(|()| watch(py)))
                {
                    cancel.raise();
                    interrupted = Some(signal);
                }
            }
            (worker.join(), interrupted)
        })
    });
    match outcome {
        (_, Some(signal)) => Err(signal),
        (outcome, None) => settle(py, outcome),
    }
}

/// What a kernel returned, or the exception for its error or panic.
fn settle<T>(py: Python<'_>, outcome: std::thread::Result<Result<T>>) -> PyResult<T> {
    match outcome {
        Ok(result) => result.map_err(|error| to_python(py, error)),
        Err(_) => Err(PyRuntimeError::new_err(
            "a phaseflow kernel panicked; this is a bug, please report it with the input's shapes and dtypes",
        )),
    }
}

fn with_threads<T: Send>(threads: Option<usize>, run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    match at_least_one(threads)? {
        None => run(),
        Some(count) => {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(count).build().map_err(|error| Error::Unsupported {
                    what: format!("{count} threads cannot be started: {error}"),
                    next: "ask for fewer".into(),
                })?;
            pool.install(run)
        }
    }
}

fn at_least_one(threads: Option<usize>) -> Result<Option<usize>> {
    match threads {
        Some(0) => Err(Error::OutOfRange {
            argument: "threads",
            expected: "at least 1, or None for all".into(),
            got: "0".into(),
        }),
        threads => Ok(threads),
    }
}
