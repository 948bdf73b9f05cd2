//! A tensor in a mapped file: name, type, shape, and its bytes where they lie.
//!
//! Bytes that lie at an address their type cannot be read from (a file by another writer) are copied once, when the tensor is opened.

use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use ndarray::{ArrayViewD, IxDyn};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::element::ElementType;
use super::header::{Entry, corrupt};
use super::map::MappedFile;
use crate::tensor::{Dtype, TensorView};
use crate::{Error, Result};

/// A tensor that keeps its file mapped as long as it lives. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    name: String,
    dtype: ElementType,
    shape: Vec<usize>,
    data: Data,
}

#[derive(Debug, Clone)]
enum Data {
    Mapped(Arc<MappedFile>, Range<usize>),
    /// Aligned to 8 bytes; the second field is the length in bytes.
    Copied(Arc<[u64]>, usize),
}

impl StoredTensor {
    pub(super) fn open(file: &Arc<MappedFile>, entry: &Entry) -> Result<Self> {
        let alignment = match entry.dtype {
            ElementType::Float(dtype) => dtype.size(),
            ElementType::Int64 => 8,
            ElementType::Other(dtype) => {
                return Err(Error::Unsupported {
                    what: format!("{}: {} has element type {dtype}", file.path().display(), entry.name),
                    next: "store it as float16, bfloat16, float32 or float64".into(),
                });
            }
        };
        let too_short = || corrupt(file.path(), &entry.name, format!("{} bytes", entry.length), "a shorter file");
        let end = entry.offset.checked_add(entry.length).ok_or_else(too_short)?;
        let bytes = file.bytes().get(entry.offset..end).ok_or_else(too_short)?;
        let data = if bytes.as_ptr().addr().is_multiple_of(alignment) {
            Data::Mapped(Arc::clone(file), entry.offset..end)
        } else {
            let mut words = vec![0_u64; bytes.len().div_ceil(8)];
            words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
            Data::Copied(words.into(), bytes.len())
        };
        let tensor = Self { name: entry.name.clone(), dtype: entry.dtype, shape: entry.shape.clone(), data };
        // Everything a view can stumble over is found here, so that `view` cannot fail later.
        match tensor.dtype {
            ElementType::Float(dtype) => tensor.try_view(dtype).map(drop),
            _ => array::<i64>(&tensor.shape, tensor.bytes()).map(drop),
        }
        .map_err(|found| corrupt(file.path(), &entry.name, format!("an array of shape {:?}", entry.shape), found))?;
        Ok(tensor)
    }

    /// The name it was logged under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its element type.
    pub fn dtype(&self) -> ElementType {
        self.dtype
    }

    /// Length of every axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its bytes, row-major, little endian.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Mapped(file, range) => &file.bytes()[range.clone()],
            Data::Copied(words, length) => &words.as_bytes()[..*length],
        }
    }

    /// The typed view for kernels; integers have none.
    pub fn view(&self) -> Result<TensorView<'_>> {
        let unsupported = |found: String| Error::Unsupported {
            what: format!("{} cannot be computed on: {found}", self.name),
            next: "measures take float16, bfloat16, float32 or float64".into(),
        };
        match self.dtype {
            ElementType::Float(dtype) => self.try_view(dtype).map_err(unsupported),
            other => Err(unsupported(other.name())),
        }
    }

    fn try_view(&self, dtype: Dtype) -> std::result::Result<TensorView<'_>, String> {
        let (shape, bytes) = (&self.shape, self.bytes());
        Ok(match dtype {
            Dtype::F16 => TensorView::F16(array::<f16>(shape, bytes)?),
            Dtype::Bf16 => TensorView::Bf16(array::<bf16>(shape, bytes)?),
            Dtype::F32 => TensorView::F32(array::<f32>(shape, bytes)?),
            Dtype::F64 => TensorView::F64(array::<f64>(shape, bytes)?),
        })
    }
}

fn array<'a, T: FromBytes + Immutable>(
    shape: &[usize],
    bytes: &'a [u8],
) -> std::result::Result<ArrayViewD<'a, T>, String> {
    let elements = <[T]>::ref_from_bytes(bytes).map_err(|error| error.to_string())?;
    ArrayViewD::from_shape(IxDyn(shape), elements).map_err(|error| error.to_string())
}
