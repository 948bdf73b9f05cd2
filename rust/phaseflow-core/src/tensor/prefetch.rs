//! Asking for memory before it is needed.
//!
//! Rows of a pattern are read up to the query, and what follows is skipped: the processor, which guesses from the
//! addresses of the last reads, starts every row anew and waits for it. Told a row ahead, it has it when its turn comes.

use super::Element;

/// Bytes that come from memory together.
const LINE: usize = 64;

/// Asks for all of these to be brought near. Nothing is read, nothing changes.
pub(crate) fn prefetch<T: Element>(entries: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        for entry in entries.iter().step_by(LINE / size_of::<T>()) {
            // SAFETY: a hint about an address inside the slice; it needs nothing but the baseline's instructions.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(entry).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (entries, LINE);
}
