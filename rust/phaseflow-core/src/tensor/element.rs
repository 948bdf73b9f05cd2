//! The element types: IEEE half, bfloat16, single and double precision.
//!
//! Every one widens to f64 without rounding, so a kernel that accumulates in f64 is exact on its input.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::half_precision::{bf16_to_f32, f16_to_f32, widen_f16};
use crate::vectorize::vectorize;

/// The stored type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single-precision number.
    Bf16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
}

impl Dtype {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::F32 => 4,
            Dtype::F64 => 8,
        }
    }

    /// The name in files and tables, numpy's word: `float16`, `bfloat16`, `float32`, `float64`.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F16 => "float16",
            Dtype::Bf16 => "bfloat16",
            Dtype::F32 => "float32",
            Dtype::F64 => "float64",
        }
    }
}

/// A stored number that a kernel may read.
pub trait Element: Copy + Send + Sync + 'static {
    /// Its [`Dtype`].
    const DTYPE: Dtype;
    /// The same value in double precision, exactly.
    fn to_f64(self) -> f64;
    /// The value in single precision; exact for all but f64.
    fn to_f32(self) -> f32;
    /// The bits of numbers that have sixteen of them: few enough for a table of any function.
    #[inline(always)]
    fn sixteen_bits(_: &[Self]) -> Option<&[u16]> {
        None
    }
    /// The numbers themselves where they are singles, for kernels that have a faster way with those.
    #[inline(always)]
    fn singles(_: &[Self]) -> Option<&[f32]> {
        None
    }
    /// Many values in single precision, as long as each other.
    fn widen(from: &[Self], into: &mut [f32]) {
        vectorize(
            #[inline(always)]
            || into.iter_mut().zip(from).for_each(|(into, value)| *into = value.to_f32()),
        );
    }
}

impl Element for f16 {
    const DTYPE: Dtype = Dtype::F16;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(f16_to_f32(self.to_bits()))
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16_to_f32(self.to_bits())
    }
    #[inline(always)]
    fn sixteen_bits(numbers: &[Self]) -> Option<&[u16]> {
        Some(numbers.reinterpret_cast())
    }
    fn widen(from: &[Self], into: &mut [f32]) {
        widen_f16(from.reinterpret_cast(), into);
    }
}

impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bf16;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(bf16_to_f32(self.to_bits()))
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        bf16_to_f32(self.to_bits())
    }
    #[inline(always)]
    fn sixteen_bits(numbers: &[Self]) -> Option<&[u16]> {
        Some(numbers.reinterpret_cast())
    }
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn singles(numbers: &[Self]) -> Option<&[f32]> {
        Some(numbers)
    }
}

impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
}
