//! Mean losses of many stored tensors, in one pass over their bytes: those of [`position_losses`](crate::loss::position_losses), bit by bit.
//!
//! A unit is a task of that function, some hundred examples. What the system's cache holds is mapped in one step, added
//! up where it lies and unmapped again. What lies on the disk is read ahead, and whoever takes a unit reads it in blocks
//! that stay in the cache of a core, into memory that it uses again, and adds each block up before it reads the next. A
//! tensor's units are joined in their order as soon as those before them are there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use half::{bf16, f16};
use zerocopy::{FromBytes, Immutable};

use super::pattern::{elements, fill};
use super::schedule::in_order;
use crate::archive::{ElementType, StoredTensor};
use crate::loss::{InContext, ROWS, Summary, TASK, Task, pivots, summary_of};
use crate::tensor::{Dtype, Element};
use crate::{Cancel, Error, Result};

/// What one thread reads at once, if [`ROWS`] examples are no more: less than the second cache of a core.
const BLOCK: usize = 512 << 10;
/// Beyond so many bytes [`ROWS`] examples are not copied; such tensors are computed through their map.
const LARGEST_BLOCK: usize = 16 << 20;
/// How far ahead the disk reads.
const AHEAD: usize = 24 << 20;
/// How much the disk is asked for at once.
const TOGETHER: usize = 8 << 20;
/// Threads more than cores: while one waits for the disk another computes.
const WAITING: usize = 1;

/// What [`losses`] finds of one tensor `(batch, pos)`, in nats.
#[derive(Debug, Clone)]
pub struct Losses {
    /// Mean over examples, `(pos,)`; NaN without examples.
    pub mean: Vec<f64>,
    /// Standard error of that mean, `(pos,)`; NaN with fewer than two examples.
    pub standard_error: Vec<f64>,
    /// Late less early, `(batch,)`; empty where no tokens to compare were given.
    pub late_minus_early: Vec<f64>,
}

/// The losses of every tensor `(batch, pos)`, each with the tokens to compare if there are any, or what kept them from
/// being found; one unreadable tensor does not stop the others.
///
/// What is read stays in the system's cache if it was there before, or if `keep`; `done` counts the bytes read.
pub fn losses(
    tensors: &[(&StoredTensor, Option<InContext>)],
    keep: bool,
    done: &AtomicU64,
    cancel: &Cancel,
) -> Result<Vec<Result<Losses>>> {
    let scans: Vec<Result<Scan<'_>>> = tensors.iter().map(|&(tensor, tokens)| Scan::new(tensor, tokens)).collect();
    let units: Vec<(&Scan<'_>, usize)> =
        scans.iter().flatten().flat_map(|scan| (0..scan.tasks).map(move |task| (scan, task))).collect();
    let longest = units.iter().map(|(scan, task)| scan.bytes(*task).len()).max().unwrap_or(1);
    let ahead = AHEAD.div_ceil(longest.max(1));
    units.iter().take(ahead).for_each(|(scan, task)| scan.prefetch(*task));
    in_order(units.len(), rayon::current_num_threads() + WAITING, cancel, |at, room: &mut Vec<u64>| {
        if let Some((scan, task)) = units.get(at + ahead) {
            scan.prefetch(*task);
        }
        let (scan, task) = units[at];
        scan.take_in(task, scan.sums(task, room, cancel));
        if !(keep || scan.cached) {
            scan.tensor.forget(scan.bytes(task));
        }
        done.fetch_add(scan.bytes(task).len() as u64, Ordering::Relaxed);
    })?;
    drop(units);
    let found = scans.into_iter().map(|scan| scan.and_then(|scan| scan.finish(cancel))).collect();
    cancel.check()?;
    Ok(found)
}

/// A checked tensor, and what is found of it so far.
struct Scan<'a> {
    tensor: &'a StoredTensor,
    dtype: Dtype,
    batch: usize,
    context: usize,
    windows: Option<[Range<usize>; 2]>,
    /// 0 where it is computed through its map.
    tasks: usize,
    cached: bool,
    pivot: OnceLock<Vec<f64>>,
    sums: Mutex<Joined>,
}

/// Tasks in their order, as far as they follow one another.
#[derive(Default)]
struct Joined {
    count: usize,
    all: Option<Summary>,
    waiting: BTreeMap<usize, Summary>,
    error: Option<Error>,
}

impl<'a> Scan<'a> {
    fn new(tensor: &'a StoredTensor, tokens: Option<InContext>) -> Result<Self> {
        let &[batch, context] = tensor.shape() else {
            let got = tensor.shape().len();
            return Err(Error::WrongRank { argument: "per_token_loss", expected: "(batch, pos)", got });
        };
        let ElementType::Float(dtype) = tensor.dtype() else {
            return Err(Error::Unsupported {
                what: format!("{} has element type {}", tensor.name(), tensor.dtype().name()),
                next: "store it as float16, bfloat16, float32 or float64".into(),
            });
        };
        let windows = tokens.map(|tokens| tokens.windows(context)).transpose()?;
        let in_blocks = (1..=LARGEST_BLOCK).contains(&(ROWS * context * dtype.size()));
        Ok(Self {
            tensor,
            dtype,
            batch,
            context,
            windows,
            tasks: if in_blocks { batch.div_ceil(TASK) } else { 0 },
            cached: tensor.is_cached(),
            pivot: OnceLock::new(),
            sums: Mutex::default(),
        })
    }

    fn bytes(&self, task: usize) -> Range<usize> {
        let row = self.context * self.dtype.size();
        task * TASK * row..((task + 1) * TASK).min(self.batch) * row
    }

    /// Asks for as many tasks from this one on as the disk reads best at once, at the first of them.
    fn prefetch(&self, task: usize) {
        let together = TOGETHER.div_ceil(self.bytes(0).len().max(1));
        if !self.cached && task.is_multiple_of(together) {
            let last = (task + together).min(self.tasks) - 1;
            self.tensor.prefetch(self.bytes(task).start..self.bytes(last).end);
        }
    }

    fn sums(&self, task: usize, room: &mut Vec<u64>, cancel: &Cancel) -> Result<Summary> {
        match self.dtype {
            Dtype::F16 => self.sums_of::<f16>(task, room, cancel),
            Dtype::Bf16 => self.sums_of::<bf16>(task, room, cancel),
            Dtype::F32 => self.sums_of::<f32>(task, room, cancel),
            Dtype::F64 => self.sums_of::<f64>(task, room, cancel),
        }
    }

    fn sums_of<T: Element + FromBytes + Immutable>(
        &self,
        task: usize,
        room: &mut Vec<u64>,
        cancel: &Cancel,
    ) -> Result<Summary> {
        let row = self.context * size_of::<T>();
        let mut sums = Task::new(self.pivot::<T>(room)?);
        let mut add = |bytes: &[u8]| -> Result<()> {
            let rows: Vec<&[T]> = elements::<T>(bytes)?.chunks_exact(self.context).collect();
            let mut blocks = rows.chunks(ROWS).peekable();
            while let Some(rows) = blocks.next() {
                cancel.check()?;
                sums.add(rows, blocks.peek().unwrap_or(&[].as_slice()), self.windows.as_ref());
            }
            Ok(())
        };
        let bytes = self.bytes(task);
        if self.cached
            && let Some(mapped) = self.tensor.mapped(bytes.clone())
        {
            add(mapped)?;
            self.tensor.unload(bytes);
            return Ok(sums.sums);
        }
        let block = (BLOCK / (ROWS * row)).max(1) * ROWS * row;
        for at in bytes.clone().step_by(block) {
            add(fill(self.tensor, at, block.min(bytes.end - at), room)?)?;
        }
        Ok(sums.sums)
    }

    /// Of its first examples; read again by tasks that begin before anybody has found it.
    fn pivot<T: Element + FromBytes + Immutable>(&self, room: &mut Vec<u64>) -> Result<&[f64]> {
        if let Some(pivot) = self.pivot.get() {
            return Ok(pivot);
        }
        let first = ROWS.min(self.batch) * self.context;
        let losses = elements::<T>(fill(self.tensor, 0, first * size_of::<T>(), room)?)?;
        let rows: Vec<&[T]> = losses.chunks_exact(self.context).collect();
        Ok(self.pivot.get_or_init(|| pivots(&rows, self.context)))
    }

    fn take_in(&self, task: usize, sums: Result<Summary>) {
        let mut joined = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = &mut *joined;
        match sums {
            Ok(sums) => drop(joined.waiting.insert(task, sums)),
            Err(error) => joined.error = joined.error.take().or(Some(error)),
        }
        while let Some(next) = joined.waiting.remove(&joined.count) {
            let before = joined.all.take().or_else(|| self.pivot.get().map(|pivot| Summary::new(pivot.clone())));
            joined.all = before.map(|before| before.join(&next));
            joined.count += 1;
        }
    }

    fn finish(self, cancel: &Cancel) -> Result<Losses> {
        let joined = self.sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = joined.error {
            return Err(error);
        }
        let sums = match joined.all {
            Some(sums) => sums,
            None => summary_of(&self.tensor.view()?, self.windows.as_ref(), cancel)?,
        };
        Ok(Losses {
            mean: (0..self.context).map(|position| sums.mean(position)).collect(),
            standard_error: (0..self.context).map(|position| sums.standard_error(position)).collect(),
            late_minus_early: sums.differences,
        })
    }
}
