//! Borrowed tensors of the four floating-point types an archive may hold.

mod element;
mod half_precision;
mod prefetch;
mod view;

pub use element::{Dtype, Element};
pub(crate) use prefetch::prefetch;
pub use view::TensorView;
