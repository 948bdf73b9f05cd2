//! Borrowed tensors of the four floating-point types an archive may hold.

mod element;
mod half_precision;
mod view;

pub use element::{Dtype, Element};
pub use view::TensorView;
