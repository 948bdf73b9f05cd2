//! A file read past the system's cache (`O_DIRECT`): for what is read once and is too large to stay.
//!
//! Such a read costs no copy and pushes nothing else out of memory; a disk of 2 GB a second delivers a third more than
//! through the cache. It wants memory, places and lengths that are whole pages, so up to a page more is read at either
//! end. Where the system, the file system or the file refuses, the caller reads as usual.

use std::fs::File;

use zerocopy::IntoBytes;

use super::map::MappedFile;

/// What memory, places and lengths are multiples of, with every disk and file system.
const PAGE: usize = 4096;

impl MappedFile {
    /// The bytes `at .. at + length`, in memory that is used again; None where they cannot be read past the cache.
    pub(super) fn read_past_cache<'r>(&self, at: usize, length: usize, room: &'r mut Vec<u64>) -> Option<&'r [u8]> {
        let file = self.direct.get_or_init(|| open(self.path())).as_ref()?;
        let (start, end) = (at / PAGE * PAGE, (at + length).next_multiple_of(PAGE));
        let words = (end - start + PAGE) / 8;
        if room.len() < words {
            room.clear();
            room.try_reserve_exact(words).ok()?;
            room.resize(words, 0);
        }
        let bytes = room.as_mut_bytes();
        let first = bytes.as_ptr().align_offset(PAGE);
        let into = bytes.get_mut(first..first + end - start)?;
        fill(file, start, into, at + length - start)?;
        into.get(at - start..at - start + length)
    }
}

/// Reads at least `least` bytes of the file from `start` on; None where that cannot be.
fn fill(file: &File, start: usize, into: &mut [u8], least: usize) -> Option<()> {
    let mut read = 0;
    while read < least {
        match system::read_at(file, start + read, &mut into[read..]) {
            // A part of a page is only read at the end of the file, and nothing beyond it.
            Ok(more) if more > 0 && ((read + more).is_multiple_of(PAGE) || read + more >= least) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => return None,
        }
    }
    Some(())
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs::{File, OpenOptions};
    use std::io::Result;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::path::Path;

    pub(super) fn open(path: &Path) -> Option<File> {
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).ok()
    }

    pub(super) fn read_at(file: &File, at: usize, into: &mut [u8]) -> Result<usize> {
        file.read_at(into, at as u64)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;
    use std::io::{ErrorKind, Result};
    use std::path::Path;

    pub(super) fn open(_: &Path) -> Option<File> {
        None
    }

    pub(super) fn read_at(_: &File, _: usize, _: &mut [u8]) -> Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }
}

use system::open;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_a_file_is_read_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        let content: Vec<u8> = (0..20_011_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = MappedFile::open(&path).unwrap();
        let mut room = Vec::new();
        for (at, length) in [(0, 1), (0, 4096), (4095, 2), (4096, 8192), (5, 20_006), (20_010, 1), (16_384, 3_627)] {
            match file.read_past_cache(at, length, &mut room) {
                Some(read) => assert_eq!(read, &content[at..at + length], "{at} {length}"),
                // A file system in memory has no way past the cache.
                None => assert!(open(&path).is_none()),
            }
        }
        // What the file does not hold is not made up.
        assert!(file.read_past_cache(20_000, 12, &mut room).is_none());
        assert!(file.read_past_cache(40_960, 1, &mut room).is_none());
    }

    #[test]
    fn a_file_that_is_gone_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        std::fs::write(&path, [1, 2, 3]).unwrap();
        let file = MappedFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(file.read_past_cache(0, 3, &mut Vec::new()).is_none());
    }
}
