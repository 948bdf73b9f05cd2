//! A file read by position into the caller's memory, instead of through its map: bounded memory whatever its size.
//!
//! Reads go through the system's page cache, as a map does. On Linux the system can be told what will be read next, and
//! what will not be read again; it then reads ahead while we compute, and a scan of a terabyte does not push everything
//! else out of memory. Elsewhere these hints do nothing.
//!
//! The file is opened again when it is first read by position: a map needs none, and thousands of checkpoints may be
//! mapped at once where a process may open a thousand files.

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::ops::Range;

use memmap2::Mmap;
use zerocopy::IntoBytes;

use super::header::corrupt;
use super::map::MappedFile;
use super::write::io_error;
use crate::Error;

/// Share of the machine's memory beyond which what was read is not left in the system's cache.
const KEPT_SHARE: usize = 4;

/// Whether so many bytes, once read, may stay in the system's cache.
pub fn may_stay_cached(bytes: usize) -> bool {
    bytes <= hints::physical_memory() / KEPT_SHARE
}

impl MappedFile {
    /// Fills `into` with the bytes from `at` on, which belong to `object`.
    pub(super) fn read_at(&self, object: &str, at: usize, into: &mut [u8]) -> crate::Result<()> {
        let read = self.file().and_then(|file| read_exact_at(file, at as u64, into));
        read.map_err(|error| self.unreadable(object, at, into.len(), error))
    }

    /// These bytes, unless they are in memory already. The file is open during the call alone.
    pub(super) fn read_cold(&self, object: &str, bytes: Range<usize>) -> crate::Result<Option<Vec<u64>>> {
        let file = File::open(self.path()).map_err(|error| io_error(self.path(), error))?;
        if bytes.is_empty() || both_ends_cached(&self.map, &file, &bytes) {
            return Ok(None);
        }
        let mut words = Vec::new();
        words.try_reserve_exact(bytes.len().div_ceil(8)).map_err(|_| Error::Unsupported {
            what: format!("{} bytes of {object} cannot be allocated", bytes.len()),
            next: "close what else holds memory".into(),
        })?;
        words.resize(bytes.len().div_ceil(8), 0_u64);
        let read = read_exact_at(&file, bytes.start as u64, &mut words.as_mut_bytes()[..bytes.len()]);
        read.map_err(|error| self.unreadable(object, bytes.start, bytes.len(), error))?;
        Ok(Some(words))
    }

    fn unreadable(&self, object: &str, at: usize, length: usize, error: std::io::Error) -> Error {
        match error.kind() {
            ErrorKind::UnexpectedEof => {
                corrupt(self.path(), object, format!("{length} bytes from byte {at} on"), "a shorter file")
            }
            _ => io_error(self.path(), error),
        }
    }

    /// Whether these bytes are in memory already, as far as their ends tell; false where the system does not say.
    pub(super) fn is_cached(&self, bytes: &Range<usize>) -> bool {
        self.file().is_ok_and(|file| both_ends_cached(&self.map, file, bytes))
    }

    /// Starts to read these bytes into memory.
    pub(super) fn prefetch(&self, bytes: Range<usize>) {
        hints::prefetch(&self.map, bytes);
    }

    /// Maps these bytes, which are in memory, in one step instead of page by page as they are touched.
    pub(super) fn populate(&self, bytes: Range<usize>) {
        hints::populate(&self.map, bytes);
    }

    /// Gives back what of these bytes is mapped; the system's cache still holds it.
    pub(super) fn unload(&self, bytes: Range<usize>) {
        hints::unload(&self.map, bytes);
    }

    /// Lets go of what memory holds of them, in the map and in the system's cache.
    pub(super) fn forget(&self, bytes: Range<usize>) {
        self.unload(bytes.clone());
        // Opened for this alone, if it is not open: files that are only mapped stay closed.
        match self.file.get() {
            Some(file) => hints::forget(file, bytes),
            None => drop(File::open(self.path()).map(|file| hints::forget(&file, bytes))),
        }
    }

    fn file(&self) -> Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = File::open(self.path())?;
        Ok(self.file.get_or_init(|| file))
    }
}

/// Who has read the header of a file has brought in what follows it, so the first byte alone tells little.
fn both_ends_cached(map: &Mmap, file: &File, bytes: &Range<usize>) -> bool {
    [bytes.end.saturating_sub(1), bytes.start].iter().all(|&end| hints::is_cached(map, file, end))
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

#[cfg(target_os = "linux")]
mod hints {
    use std::fs::File;
    use std::ops::Range;
    use std::os::fd::AsRawFd;

    use memmap2::{Advice, Mmap, UncheckedAdvice};

    /// A read that may not wait starts one, which a quick disk ends before the answer, so the map is asked first; of files
    /// that are neither ours nor writable it says they are in memory.
    pub(super) fn is_cached(map: &Mmap, file: &File, at: usize) -> bool {
        is_resident(map, at) && comes_at_once(file, at)
    }

    fn is_resident(map: &Mmap, at: usize) -> bool {
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as usize;
        let start = map.as_ptr().wrapping_add(at).map_addr(|address| address - address % page);
        let mut told = 0_u8;
        // SAFETY: a page of the map, of which one byte is told; nothing of it is read.
        let failed = unsafe { libc::mincore(start.cast_mut().cast(), 1, &raw mut told) } != 0;
        failed || told & 1 == 1
    }

    fn comes_at_once(file: &File, at: usize) -> bool {
        let mut byte = 0_u8;
        let part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: one buffer of one byte, alive during the call; RWF_NOWAIT makes the call fail instead of waiting.
        let read = unsafe { libc::preadv2(file.as_raw_fd(), &part, 1, at as libc::off_t, libc::RWF_NOWAIT) };
        read == 1
    }

    // A refusal of any of these costs speed at most.

    pub(super) fn prefetch(map: &Mmap, bytes: Range<usize>) {
        let _ = map.advise_range(Advice::WillNeed, bytes.start, bytes.len());
    }

    pub(super) fn populate(map: &Mmap, bytes: Range<usize>) {
        let _ = map.advise_range(Advice::PopulateRead, bytes.start, bytes.len());
    }

    pub(super) fn unload(map: &Mmap, bytes: Range<usize>) {
        // SAFETY: the map is of a file and read-only; pages that are touched again come from the file, unchanged.
        let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, bytes.start, bytes.len()) };
    }

    pub(super) fn forget(file: &File, bytes: Range<usize>) {
        let (start, length) = (bytes.start as libc::off_t, bytes.len() as libc::off_t);
        // SAFETY: takes no memory of ours.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), start, length, libc::POSIX_FADV_DONTNEED) };
    }

    /// Bytes of the machine's memory.
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

    use memmap2::Mmap;

    pub(super) fn is_cached(_: &Mmap, _: &File, _: usize) -> bool {
        false
    }

    pub(super) fn prefetch(_: &Mmap, _: Range<usize>) {}

    pub(super) fn populate(_: &Mmap, _: Range<usize>) {}

    pub(super) fn unload(_: &Mmap, _: Range<usize>) {}

    pub(super) fn forget(_: &File, _: Range<usize>) {}

    pub(super) fn physical_memory() -> usize {
        usize::MAX
    }
}
