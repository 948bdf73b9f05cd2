//! A borrowed tensor whose element type is known only at run time.
//!
//! A kernel is written once, generic over [`Element`](super::Element); [`with_view!`](crate::with_view) opens the
//! view and calls it with the concrete type.

use half::{bf16, f16};
use ndarray::ArrayViewD;

use super::Dtype;

/// A strided, borrowed tensor of one of the four element types.
#[derive(Debug, Clone)]
pub enum TensorView<'a> {
    /// Half precision.
    F16(ArrayViewD<'a, f16>),
    /// bfloat16.
    Bf16(ArrayViewD<'a, bf16>),
    /// Single precision.
    F32(ArrayViewD<'a, f32>),
    /// Double precision.
    F64(ArrayViewD<'a, f64>),
}

/// Runs an expression with the typed array view inside a [`TensorView`].
///
/// `with_view!(view, |array| kernel(array))` is `kernel` called with an `ArrayViewD` of the stored type.
#[macro_export]
macro_rules! with_view {
    ($view:expr, |$array:ident| $body:expr) => {
        match $view {
            $crate::tensor::TensorView::F16($array) => $body,
            $crate::tensor::TensorView::Bf16($array) => $body,
            $crate::tensor::TensorView::F32($array) => $body,
            $crate::tensor::TensorView::F64($array) => $body,
        }
    };
}

impl TensorView<'_> {
    /// The stored element type.
    pub fn dtype(&self) -> Dtype {
        match self {
            TensorView::F16(_) => Dtype::F16,
            TensorView::Bf16(_) => Dtype::Bf16,
            TensorView::F32(_) => Dtype::F32,
            TensorView::F64(_) => Dtype::F64,
        }
    }

    /// Length of every axis.
    pub fn shape(&self) -> &[usize] {
        with_view!(self, |array| array.shape())
    }

    /// The same tensor with its axes in reverse order.
    pub fn transposed(&self) -> TensorView<'_> {
        match self {
            TensorView::F16(array) => TensorView::F16(array.t()),
            TensorView::Bf16(array) => TensorView::Bf16(array.t()),
            TensorView::F32(array) => TensorView::F32(array.t()),
            TensorView::F64(array) => TensorView::F64(array.t()),
        }
    }
}
