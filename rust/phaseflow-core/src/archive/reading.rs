//! A file read by position into the caller's memory, instead of through its map: bounded memory whatever its size.
//!
//! Reads go through the system's page cache. On Linux the system can be told what will be read next, and what will not
//! be read again; it then reads ahead while we compute, and a scan of a terabyte does not push everything else out of
//! memory. Elsewhere these hints do nothing.

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::ops::Range;

use super::header::corrupt;
use super::map::MappedFile;
use super::write::io_error;

impl MappedFile {
    /// Fills `into` with the bytes from `at` on, which belong to `object`.
    pub(super) fn read_at(&self, object: &str, at: usize, into: &mut [u8]) -> crate::Result<()> {
        read_exact_at(&self.file, at as u64, into).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                corrupt(self.path(), object, format!("{} bytes from byte {at} on", into.len()), "a shorter file")
            }
            _ => io_error(self.path(), error),
        })
    }

    /// Whether the byte at `at` is in memory already; false where the system does not say.
    pub(super) fn is_cached(&self, at: usize) -> bool {
        hints::is_cached(&self.file, at)
    }

    /// Starts to read these bytes into memory.
    pub(super) fn prefetch(&self, bytes: Range<usize>) {
        hints::prefetch(&self.file, bytes);
    }

    /// Lets go of what memory holds of them.
    pub(super) fn forget(&self, bytes: Range<usize>) {
        hints::forget(&self.file, bytes);
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, at: u64, into: &mut [u8]) -> Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut at: u64, mut into: &mut [u8]) -> Result<()> {
    while !into.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, into, at)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => {
                into = &mut into[read..];
                at += read as u64;
            }
        }
    }
    Ok(())
}

/// Bytes of the machine's memory; unlimited where the system does not say.
pub(crate) fn physical_memory() -> usize {
    hints::physical_memory()
}

#[cfg(target_os = "linux")]
mod hints {
    use std::fs::File;
    use std::ops::Range;
    use std::os::fd::AsRawFd;

    pub(super) fn is_cached(file: &File, at: usize) -> bool {
        let mut byte = 0_u8;
        let part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: one buffer of one byte, alive during the call; RWF_NOWAIT makes the call fail instead of waiting.
        let read = unsafe { libc::preadv2(file.as_raw_fd(), &part, 1, at as libc::off_t, libc::RWF_NOWAIT) };
        read == 1
    }

    pub(super) fn prefetch(file: &File, bytes: Range<usize>) {
        advise(file, bytes, libc::POSIX_FADV_WILLNEED);
    }

    pub(super) fn forget(file: &File, bytes: Range<usize>) {
        advise(file, bytes, libc::POSIX_FADV_DONTNEED);
    }

    fn advise(file: &File, bytes: Range<usize>, advice: libc::c_int) {
        // SAFETY: takes no memory of ours. A refusal costs speed at most.
        unsafe {
            libc::posix_fadvise(file.as_raw_fd(), bytes.start as libc::off_t, bytes.len() as libc::off_t, advice);
        }
    }

    pub(super) fn physical_memory() -> usize {
        // SAFETY: takes no memory of ours.
        let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
        usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(usize::try_from(size).unwrap_or(1))
    }
}

#[cfg(not(target_os = "linux"))]
mod hints {
    use std::fs::File;
    use std::ops::Range;

    pub(super) fn is_cached(_: &File, _: usize) -> bool {
        false
    }

    pub(super) fn prefetch(_: &File, _: Range<usize>) {}

    pub(super) fn forget(_: &File, _: Range<usize>) {}

    pub(super) fn physical_memory() -> usize {
        usize::MAX
    }
}
