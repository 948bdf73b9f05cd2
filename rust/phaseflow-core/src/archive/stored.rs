//! A tensor in a mapped file: name, type, shape, and its bytes where they lie.
//!
//! Bytes that lie at an address their type cannot be read from (a file by another writer) are copied once, when they are first viewed.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

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
    file: Arc<MappedFile>,
    bytes: Range<usize>,
    /// Its bytes again, once they were loaded, or asked for where those of the file are not aligned.
    copied: Arc<OnceLock<Vec<u64>>>,
}

impl StoredTensor {
    pub(super) fn open(file: &Arc<MappedFile>, entry: &Entry) -> Result<Self> {
        let Entry { name, dtype, shape, offset, length, .. } = entry;
        Self::of(file, name, *dtype, shape, *offset, *length)
    }

    /// An array whose bytes lie in a file of any format, row-major and little endian, from byte `offset` on.
    pub fn in_file(path: &Path, name: &str, dtype: Dtype, shape: &[usize], offset: usize) -> Result<Self> {
        let length = byte_count(shape, dtype.size());
        let length = length.ok_or_else(|| corrupt(path, name, "an array that fits memory", format!("{shape:?}")))?;
        let file = Arc::new(MappedFile::open(path)?);
        Self::of(&file, name, ElementType::Float(dtype), shape, offset, length)
    }

    fn of(
        file: &Arc<MappedFile>,
        name: &str,
        dtype: ElementType,
        shape: &[usize],
        offset: usize,
        length: usize,
    ) -> Result<Self> {
        let size = match dtype {
            ElementType::Float(dtype) => dtype.size(),
            ElementType::Int64 => 8,
            ElementType::Other(dtype) => {
                return Err(Error::Unsupported {
                    what: format!("{}: {name} has element type {dtype}", file.path().display()),
                    next: "store it as float16, bfloat16, float32 or float64".into(),
                });
            }
        };
        let end = offset.checked_add(length).filter(|&end| end <= file.bytes().len());
        let end = end.ok_or_else(|| corrupt(file.path(), name, format!("{length} bytes"), "a shorter file"))?;
        // Everything a view can stumble over is found here, so that `view` cannot fail later.
        // An empty array counts its other axes too.
        let lengths: Vec<usize> = shape.iter().copied().filter(|&axis| axis > 0).collect();
        let countable = byte_count(&lengths, size).is_some_and(|bytes| isize::try_from(bytes).is_ok());
        if !countable || byte_count(shape, size) != Some(length) {
            let expected = format!("an array of shape {shape:?}");
            return Err(corrupt(file.path(), name, expected, format!("{length} bytes")));
        }
        Ok(Self {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
            file: Arc::clone(file),
            bytes: offset..end,
            copied: Arc::default(),
        })
    }

    /// The part of it with these indices along its first axes.
    pub fn part(&self, indices: &[usize]) -> Result<Self> {
        let mut part = self.clone();
        for &index in indices {
            let Some((&axis, rest)) = part.shape.split_first().filter(|(axis, _)| index < **axis) else {
                let (argument, expected) = ("index", format!("less than the axes {:?} of {}", self.shape, self.name));
                return Err(Error::OutOfRange { argument, expected, got: format!("{indices:?}") });
            };
            let length = part.bytes.len() / axis;
            let start = part.bytes.start + index * length;
            part.bytes = start..start + length;
            part.shape = rest.to_vec();
        }
        part.copied = Arc::default();
        Ok(part)
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

    /// The same numbers in the same order, with other axes.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        let count = |shape: &[usize]| shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis));
        if count(shape) != count(&self.shape) {
            let (argument, expected) = ("shape", format!("as many elements as {:?} of {}", self.shape, self.name));
            return Err(Error::OutOfRange { argument, expected, got: format!("{shape:?}") });
        }
        Ok(Self { shape: shape.to_vec(), ..self.clone() })
    }

    /// Number of its bytes.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Its bytes, row-major, little endian, at an address its elements can be read from.
    pub fn bytes(&self) -> &[u8] {
        if let Some(words) = self.copied.get() {
            return &words.as_bytes()[..self.length()];
        }
        let bytes = &self.file.bytes()[self.bytes.clone()];
        if bytes.as_ptr().addr().is_multiple_of(self.element_size()) {
            return bytes;
        }
        let words = self.copied.get_or_init(|| {
            let mut words = vec![0_u64; bytes.len().div_ceil(8)];
            words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
            words
        });
        &words.as_bytes()[..bytes.len()]
    }

    /// Reads its bytes from the disk into memory of its own, unless the system's memory holds them already: a cold file
    /// comes at the disk's full rate, through a map it does not. They stay as long as this tensor and its clones.
    pub fn load(&self) -> Result<()> {
        if self.copied.get().is_none()
            && let Some(words) = self.file.read_cold(&self.name, self.bytes.clone())?
        {
            // Who came first has read the same.
            let _ = self.copied.set(words);
        }
        Ok(())
    }

    /// Copies its bytes from `at` on into `into`, without touching the map: for tensors larger than memory.
    pub fn read_at(&self, at: usize, into: &mut [u8]) -> Result<()> {
        self.file.read_at(&self.name, self.bytes.start + at, into)
    }

    /// Some of its bytes, which are in the system's memory, where they lie in the map; None where its elements cannot be
    /// read from there.
    pub fn mapped(&self, bytes: Range<usize>) -> Option<&[u8]> {
        let all = &self.file.bytes()[self.bytes.clone()];
        let aligned = all.as_ptr().addr().is_multiple_of(self.element_size());
        aligned.then(|| {
            self.file.populate(self.bytes.start + bytes.start..self.bytes.start + bytes.end);
            &all[bytes]
        })
    }

    /// Whether its first and its last byte are in the system's memory already.
    pub fn is_cached(&self) -> bool {
        self.file.is_cached(&self.bytes)
    }

    /// Size of an element, in bytes.
    pub fn element_size(&self) -> usize {
        match self.dtype {
            ElementType::Float(dtype) => dtype.size(),
            _ => 8,
        }
    }

    /// Asks the system to read some of its bytes ahead.
    pub fn prefetch(&self, bytes: Range<usize>) {
        self.file.prefetch(self.bytes.start + bytes.start..self.bytes.start + bytes.end);
    }

    /// Gives back what is mapped of some of its bytes.
    pub fn unload(&self, bytes: Range<usize>) {
        self.file.unload(self.bytes.start + bytes.start..self.bytes.start + bytes.end);
    }

    /// Tells the system that some of its bytes are not needed again soon.
    pub fn forget(&self, bytes: Range<usize>) {
        self.file.forget(self.bytes.start + bytes.start..self.bytes.start + bytes.end);
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

fn byte_count(shape: &[usize], size: usize) -> Option<usize> {
    shape.iter().try_fold(size, |product, &axis| product.checked_mul(axis))
}

fn array<'a, T: FromBytes + Immutable>(
    shape: &[usize],
    bytes: &'a [u8],
) -> std::result::Result<ArrayViewD<'a, T>, String> {
    let elements = <[T]>::ref_from_bytes(bytes).map_err(|error| error.to_string())?;
    ArrayViewD::from_shape(IxDyn(shape), elements).map_err(|error| error.to_string())
}
