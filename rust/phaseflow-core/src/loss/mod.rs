//! What per-token losses say about in-context learning.
//!
//! Losses are in nats, axes `(..., batch, pos)`; the leading axes (checkpoint, run, ...) may be any number, also none.
//! Definitions: Olsson 2022.

mod bootstrap;
mod derivative;
mod derivative_error;
mod ends;
mod gram;
mod in_context;
mod layout;
mod position;
mod summary;
mod sums;
mod token_change;

pub use bootstrap::{Bootstrap, in_context_learning_interval};
pub use derivative::{log_derivative, loss_log_derivative};
pub use derivative_error::loss_log_derivative_error;
pub use ends::Method;
pub use gram::{Gram, gram};
pub use in_context::{InContext, in_context_learning_score};
pub use position::{PositionLosses, position_losses};
pub(crate) use position::{TASK, Task, pivots, summary_of};
pub use summary::{LossSummary, loss_summary};
pub(crate) use sums::{ROWS, Summary};
pub use token_change::{Grid, Null, Ramp, Scan, sample};
