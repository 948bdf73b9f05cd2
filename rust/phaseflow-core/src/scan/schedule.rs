//! Threads that take the next piece of work in order, as the disk likes it, each with room of its own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Cancel, Result};

/// `work` on every number below `count`, on so many threads, each with its own `Room`; what was found in the order of
/// the numbers. Stops early only when cancelled.
pub(super) fn in_order<Room: Default, Found: Send>(
    count: usize,
    threads: usize,
    cancel: &Cancel,
    work: impl Fn(usize, &mut Room) -> Found + Sync,
) -> Result<Vec<Found>> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                let mut room = Room::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || cancel.check().is_err() {
                        break;
                    }
                    let one = work(number, &mut room);
                    found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((number, one));
                }
            });
        }
    });
    cancel.check()?;
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_unstable_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, one)| one).collect())
}
