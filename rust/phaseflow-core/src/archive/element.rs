//! What one stored number is: the four floating-point types that kernels read, 64-bit integers for tokens.

use safetensors::Dtype as FileDtype;

use crate::tensor::Dtype;

/// The element type of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// A type that kernels read.
    Float(Dtype),
    /// Token ids.
    Int64,
    /// A type of the file format that phaseflow neither writes nor opens.
    Other(FileDtype),
}

impl ElementType {
    /// numpy's word for it; for a type that is not opened, the file format's word.
    pub fn name(self) -> String {
        match self {
            Self::Float(dtype) => dtype.name().to_owned(),
            Self::Int64 => "int64".to_owned(),
            Self::Other(dtype) => dtype.to_string(),
        }
    }

    /// The type called `name` in numpy, if phaseflow writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "float16" => Some(Self::Float(Dtype::F16)),
            "bfloat16" => Some(Self::Float(Dtype::Bf16)),
            "float32" => Some(Self::Float(Dtype::F32)),
            "float64" => Some(Self::Float(Dtype::F64)),
            "int64" => Some(Self::Int64),
            _ => None,
        }
    }

    pub(super) fn to_file(self) -> FileDtype {
        match self {
            Self::Float(Dtype::F16) => FileDtype::F16,
            Self::Float(Dtype::Bf16) => FileDtype::BF16,
            Self::Float(Dtype::F32) => FileDtype::F32,
            Self::Float(Dtype::F64) => FileDtype::F64,
            Self::Int64 => FileDtype::I64,
            Self::Other(dtype) => dtype,
        }
    }

    pub(super) fn from_file(dtype: FileDtype) -> Self {
        match dtype {
            FileDtype::F16 => Self::Float(Dtype::F16),
            FileDtype::BF16 => Self::Float(Dtype::Bf16),
            FileDtype::F32 => Self::Float(Dtype::F32),
            FileDtype::F64 => Self::Float(Dtype::F64),
            FileDtype::I64 => Self::Int64,
            other => Self::Other(other),
        }
    }
}
