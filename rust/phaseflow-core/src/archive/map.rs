//! A file's bytes, mapped read-only.
//!
//! Files of an archive are immutable once they have their name, so a map of one stays valid. A file that somebody else shortens
//! while it is mapped ends the process with SIGBUS when the lost part is touched: nothing in user space can turn that into an error,
//! and on network file systems it can happen from another machine. The length is fixed when the map is made, and every view is
//! checked against it. What is read by position instead of through the map (`reading.rs`) meets an error there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

use super::write::io_error;
use crate::Result;

/// A read-only map of a whole file, with the path for messages, and the file once it is read by position.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    pub(super) file: OnceLock<File>,
    pub(super) map: Mmap,
}

impl MappedFile {
    /// Maps the file as long as it is now.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| io_error(path, source))?;
        // SAFETY: the map is read-only, and phaseflow replaces files by renaming, never by writing into or shortening one that has its
        // final name. Whoever does so from outside breaks the promise of the archive; see above.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| io_error(path, source))?;
        Ok(Self { path: path.to_owned(), file: OnceLock::new(), map })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}
