//! Kernels over stored tensors of any size in bounded memory: what is read is cut into blocks, and threads take turns at
//! reading one and computing on it, so that the disk and the cores are busy at once.

mod losses;
mod pattern;
mod schedule;
mod scores;

pub use losses::{Losses, losses};
pub use pattern::{Pattern, Source};
pub use scores::head_scores;
