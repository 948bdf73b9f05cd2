//! A stored pattern in one of its three forms, cut into units: runs of (example, head) that lie side by side.
//!
//! The pattern of one head on one example may be larger than a block; it is then read some rows at a time, by one
//! thread, into the same sums, which is why blocks of any size give the same bits.

use std::ops::Range;

use half::{bf16, f16};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::archive::{ElementType, StoredTensor};
use crate::attention::{InPanels, Lane, Layout, Sums, TokenIndex};
use crate::tensor::{Dtype, Element};
use crate::{Cancel, Error, Result};

/// How a pattern is stored.
#[derive(Debug, Clone, Copy)]
pub enum Pattern<'a> {
    /// `(batch, head, query_pos, key_pos)`, or packed `(batch, head, entry)`
    Whole(&'a StoredTensor),
    /// As the parts it is rebuilt from; see [`Compact`](crate::attention::Compact).
    Compact {
        /// `(batch, head, pos, d_head)`
        queries: &'a StoredTensor,
        /// `(batch, key_head, pos, d_head)`
        keys: &'a StoredTensor,
        /// `(batch, head, pos)`
        log_sum_exp: &'a StoredTensor,
        /// What products are multiplied by.
        scale: f64,
    },
}

/// A stored pattern and the tokens it was made on.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Where the numbers are.
    pub pattern: Pattern<'a>,
    /// The tokens.
    pub index: &'a TokenIndex,
}

/// A checked source, and how it is cut.
pub(super) struct Cut<'a> {
    pub(super) source: Source<'a>,
    pub(super) heads: usize,
    /// Heads that are read together at least: those that share their keys.
    group: usize,
    /// Bytes of one (example, head), over all parts.
    per_head: usize,
    cached: bool,
}

/// Memory of one thread, kept from unit to unit.
#[derive(Default)]
pub(super) struct Room {
    bytes: Vec<u64>,
    singles: Parts<f32>,
    doubles: Parts<f64>,
}

/// Those of one head on one example.
#[derive(Default)]
struct Parts<L> {
    queries: Vec<L>,
    keys: Vec<L>,
    log_sum_exp: Vec<L>,
}

impl<'a> Cut<'a> {
    pub(super) fn new(source: Source<'a>) -> Result<Self> {
        let (batch, context) = (source.index.batch(), source.index.context());
        let cut = |heads, group, per_head, first: &StoredTensor| Self {
            source,
            heads,
            group,
            per_head,
            cached: first.is_cached(),
        };
        match source.pattern {
            Pattern::Whole(tensor) => {
                let size = float(tensor)?.size();
                let heads = *tensor.shape().get(1).unwrap_or(&0);
                let (layout, expected) = match tensor.shape().len() {
                    4 => (Layout::Whole, vec![batch, heads, context, context]),
                    _ => (Layout::Packed, vec![batch, heads, Layout::Packed.entries_before(context, context)]),
                };
                fits(tensor, &expected)?;
                Ok(cut(heads, 1, layout.entries_before(context, context) * size, tensor))
            }
            Pattern::Compact { queries, keys, log_sum_exp, scale } => {
                let (heads, width) = (axis(queries, 1), axis(queries, 3));
                let key_heads = axis(keys, 1);
                fits(queries, &[batch, heads, context, width])?;
                fits(keys, &[batch, key_heads, context, width])?;
                fits(log_sum_exp, &[batch, heads, context])?;
                if heads > 0 && (key_heads == 0 || heads % key_heads != 0) {
                    return Err(unlike(keys, format!("a number of heads that divides the {heads} of queries")));
                }
                if !scale.is_finite() {
                    return Err(unlike(queries, format!("products with a finite scale, not {scale}")));
                }
                let sizes = [float(queries)?.size(), float(keys)?.size(), float(log_sum_exp)?.size()];
                let per_head = context * (width * (sizes[0] + sizes[1]) + sizes[2]);
                Ok(cut(heads, heads / key_heads.max(1), per_head, queries))
            }
        }
    }

    /// The (example, head) pairs, in row-major order, cut into runs of about `block` bytes.
    pub(super) fn units(&self, block: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let all = self.source.index.batch() * self.heads;
        let group = self.group.max(1);
        let each = (block / self.per_head.max(1) / group).max(1) * group;
        (0..all).step_by(each).map(move |first| first..(first + each).min(all))
    }

    /// Bytes of such a run.
    pub(super) fn bytes(&self, unit: &Range<usize>) -> usize {
        unit.len() * self.per_head
    }

    /// Asks the system to read a run ahead, where it is not in memory.
    pub(super) fn prefetch(&self, unit: &Range<usize>) {
        if let (false, Pattern::Whole(tensor)) = (self.cached, self.source.pattern) {
            tensor.prefetch(unit.start * self.per_head..unit.end * self.per_head);
        }
    }

    /// Lets the system drop a run that it held for us alone.
    pub(super) fn forget(&self, unit: &Range<usize>) {
        if let (false, Pattern::Whole(tensor)) = (self.cached, self.source.pattern) {
            tensor.forget(unit.start * self.per_head..unit.end * self.per_head);
        }
    }

    /// The sums of every (example, head) of a run; at most `block` bytes are read at once, if a row is no longer.
    pub(super) fn sums(&self, unit: Range<usize>, block: usize, room: &mut Room, cancel: &Cancel) -> Result<Vec<Sums>> {
        match self.source.pattern {
            Pattern::Whole(tensor) => match float(tensor)? {
                Dtype::F16 => self.of_whole::<f16>(tensor, unit, block, room, cancel),
                Dtype::Bf16 => self.of_whole::<bf16>(tensor, unit, block, room, cancel),
                Dtype::F32 => self.of_whole::<f32>(tensor, unit, block, room, cancel),
                Dtype::F64 => self.of_whole::<f64>(tensor, unit, block, room, cancel),
            },
            Pattern::Compact { queries, keys, log_sum_exp, scale } => {
                let Room { bytes, singles, doubles } = room;
                let tensors = [queries, keys, log_sum_exp];
                match float(queries)?.size() == 2 && float(keys)?.size() == 2 {
                    true => self.of_compact(tensors, scale, unit, bytes, singles, cancel),
                    false => self.of_compact(tensors, scale, unit, bytes, doubles, cancel),
                }
            }
        }
    }

    fn of_compact<L: InPanels>(
        &self,
        [queries, keys, log_sum_exp]: [&StoredTensor; 3],
        scale: f64,
        unit: Range<usize>,
        bytes: &mut Vec<u64>,
        parts: &mut Parts<L>,
        cancel: &Cancel,
    ) -> Result<Vec<Sums>> {
        let (index, scale) = (self.source.index, L::narrow(scale));
        let (context, width) = (index.context(), axis(queries, 3));
        let mut found = Vec::with_capacity(unit.len());
        for pair in unit {
            cancel.check()?;
            if pair % self.group == 0 || found.is_empty() {
                take(keys, pair / self.group, context * width, bytes, &mut parts.keys)?;
            }
            take(queries, pair, context * width, bytes, &mut parts.queries)?;
            parts.queries.iter_mut().for_each(|query| *query = *query * scale);
            take(log_sum_exp, pair, context, bytes, &mut parts.log_sum_exp)?;
            let example = pair / self.heads;
            found.push(Sums::of_parts(index, example, &parts.queries, &parts.keys, &parts.log_sum_exp));
        }
        Ok(found)
    }

    fn of_whole<T: Element + FromBytes + Immutable>(
        &self,
        tensor: &StoredTensor,
        unit: Range<usize>,
        block: usize,
        room: &mut Room,
        cancel: &Cancel,
    ) -> Result<Vec<Sums>> {
        let index = self.source.index;
        let context = index.context();
        let layout = if tensor.shape().len() == 4 { Layout::Whole } else { Layout::Packed };
        let entries = self.per_head / size_of::<T>();
        let mut found = vec![Sums::default(); unit.len()];
        if self.per_head <= block {
            let (first, all) =
                (unit.start, fill(tensor, unit.start * self.per_head, self.bytes(&unit), &mut room.bytes)?);
            for pair in unit {
                cancel.check()?;
                let own = &elements::<T>(all)?[(pair - first) * entries..][..entries];
                found[pair - first].add_block(index, pair / self.heads, 0..context, own, layout);
            }
            return Ok(found);
        }
        for (pair, sums) in unit.zip(&mut found) {
            let mut query = 0;
            while query < context {
                cancel.check()?;
                let before = layout.entries_before(query, context);
                let fitting =
                    |&until: &usize| (layout.entries_before(until, context) - before) * size_of::<T>() <= block;
                let until = (query + 2..=context).take_while(fitting).last().unwrap_or(query + 1);
                let length = (layout.entries_before(until, context) - before) * size_of::<T>();
                let bytes = fill(tensor, pair * self.per_head + before * size_of::<T>(), length, &mut room.bytes)?;
                sums.add_block(index, pair / self.heads, query..until, elements::<T>(bytes)?, layout);
                query = until;
            }
        }
        Ok(found)
    }
}

/// Bytes of a tensor, in memory that is used again.
pub(super) fn fill<'r>(tensor: &StoredTensor, at: usize, length: usize, room: &'r mut Vec<u64>) -> Result<&'r [u8]> {
    let words = length.div_ceil(8);
    if room.len() < words {
        room.clear();
        room.try_reserve_exact(words).map_err(|_| Error::Unsupported {
            what: format!("{length} bytes of {} cannot be allocated", tensor.name()),
            next: "close what else holds memory".into(),
        })?;
        room.resize(words, 0);
    }
    let bytes = &mut room.as_mut_bytes()[..length];
    tensor.read_at(at, bytes)?;
    Ok(bytes)
}

pub(super) fn elements<T: FromBytes + Immutable>(bytes: &[u8]) -> Result<&[T]> {
    <[T]>::ref_from_bytes(bytes).map_err(|error| Error::Unsupported {
        what: format!("a block that is not a whole number of entries: {error}"),
        next: "report it, with the tensor's shape and dtype".into(),
    })
}

/// The `number`-th run of so many elements of a tensor.
fn take<L: Lane>(
    tensor: &StoredTensor,
    number: usize,
    elements_each: usize,
    room: &mut Vec<u64>,
    into: &mut Vec<L>,
) -> Result<()> {
    fn of<T: Element + FromBytes + Immutable, L: Lane>(bytes: &[u8], into: &mut Vec<L>) -> Result<()> {
        let from = elements::<T>(bytes)?;
        into.resize(from.len(), L::default());
        L::take(from, into);
        Ok(())
    }
    let dtype = float(tensor)?;
    let length = elements_each * dtype.size();
    let bytes = fill(tensor, number * length, length, room)?;
    match dtype {
        Dtype::F16 => of::<f16, L>(bytes, into),
        Dtype::Bf16 => of::<bf16, L>(bytes, into),
        Dtype::F32 => of::<f32, L>(bytes, into),
        Dtype::F64 => of::<f64, L>(bytes, into),
    }
}

fn axis(tensor: &StoredTensor, number: usize) -> usize {
    tensor.shape().get(number).copied().unwrap_or(0)
}

fn float(tensor: &StoredTensor) -> Result<Dtype> {
    match tensor.dtype() {
        ElementType::Float(dtype) => Ok(dtype),
        _ => Err(unlike(tensor, "float16, bfloat16, float32 or float64".into())),
    }
}

fn fits(tensor: &StoredTensor, expected: &[usize]) -> Result<()> {
    if tensor.shape() == expected {
        return Ok(());
    }
    Err(unlike(tensor, format!("shape {expected:?}, as its tokens have")))
}

fn unlike(tensor: &StoredTensor, expected: String) -> Error {
    Error::Corrupt {
        file: tensor.path().to_owned(),
        object: tensor.name().to_owned(),
        expected,
        found: format!("{} of shape {:?}", tensor.dtype().name(), tensor.shape()),
        next: "compare it with the tokens of its probe".into(),
    }
}
