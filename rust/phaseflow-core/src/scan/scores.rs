//! The scores of all heads of many stored patterns, in one pass over their bytes and a fixed amount of memory.

use std::sync::atomic::{AtomicU64, Ordering};

use super::pattern::{Cut, Room, Source};
use super::schedule::in_order;
use crate::archive::may_stay_cached;
use crate::attention::{HeadScores, Sums};
use crate::{Cancel, Error, Result};

/// What one thread reads at once at most: it stays in the cache of a core until it is computed on, which on cached files
/// is 1.5 times as fast as blocks of 16 MB.
const LARGEST_BLOCK: usize = 1 << 20;
/// How far ahead the disk reads: several of the blocks that give its full rate.
const AHEAD: usize = 24 << 20;
/// The least that makes sense.
const SMALLEST_BLOCK: usize = 64 << 10;
/// Threads more than cores: while one waits for the disk another computes.
const WAITING: usize = 1;

/// The [`HeadScores`] of every source, or what kept them from being found; one unreadable tensor does not stop the
/// others.
///
/// `memory` bounds the blocks in memory at once, in bytes (a single row is always read whole); `done` counts the bytes
/// that were read.
pub fn head_scores(
    sources: &[Source<'_>],
    memory: usize,
    done: &AtomicU64,
    cancel: &Cancel,
) -> Result<Vec<Result<HeadScores>>> {
    let threads = rayon::current_num_threads() + WAITING;
    let block = memory / threads;
    if block < SMALLEST_BLOCK {
        return Err(Error::OutOfRange {
            argument: "memory",
            expected: format!("at least {} bytes for {threads} threads", SMALLEST_BLOCK * threads),
            got: memory.to_string(),
        });
    }
    let block = block.min(LARGEST_BLOCK);
    let cuts: Vec<Result<Cut<'_>>> = sources.iter().map(|&source| Cut::new(source)).collect();
    let units: Vec<_> = cuts
        .iter()
        .enumerate()
        .filter_map(|(number, cut)| Some((number, cut.as_ref().ok()?)))
        .flat_map(|(number, cut)| cut.units(block).map(move |unit| (number, cut, unit)))
        .collect();
    let whole: usize = units.iter().map(|(_, cut, unit)| cut.bytes(unit)).sum();
    let too_large_to_keep = !may_stay_cached(whole);
    let ahead = AHEAD / block;
    units.iter().take(ahead).for_each(|(_, cut, unit)| cut.prefetch(unit));
    let found = in_order(units.len(), threads, cancel, |at, room: &mut Room| {
        if let Some((_, cut, later)) = units.get(at + ahead) {
            cut.prefetch(later);
        }
        let (_, cut, unit) = &units[at];
        let sums = cut.sums(unit.clone(), block, room, cancel);
        if too_large_to_keep {
            cut.forget(unit);
        }
        done.fetch_add(cut.bytes(unit) as u64, Ordering::Relaxed);
        sums
    })?;
    let mut sums: Vec<Result<Vec<Sums>>> = cuts.iter().map(|_| Ok(Vec::new())).collect();
    for ((number, ..), one) in units.iter().zip(found) {
        match (&mut sums[*number], one) {
            (Ok(sums), Ok(one)) => sums.extend(one),
            (all @ Ok(_), Err(error)) => *all = Err(error),
            (Err(_), _) => {}
        }
    }
    drop(units);
    let together = |(cut, sums): (Result<Cut<'_>>, Result<Vec<Sums>>)| {
        let (cut, sums) = (cut?, sums?);
        Ok(HeadScores::new(cut.source.index, cut.heads, &sums))
    };
    Ok(cuts.into_iter().zip(sums).map(together).collect())
}
