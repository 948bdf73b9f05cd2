//! A flag that asks a long computation to stop.
//!
//! Kernels look at it between blocks of work, so that Ctrl-C in Python ends a call within a second.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// Shared between the thread that computes and the one that watches for Ctrl-C.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// A flag nobody has raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the computation to stop at its next check.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// `Err(Error::Interrupted)` once raised; call it once per block, not per element.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
