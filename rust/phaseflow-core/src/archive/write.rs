//! Files that exist whole or not at all.
//!
//! Write beside the name, fsync, rename, fsync the directory. A reader sees the old file or the new one, never a part; a process that
//! dies leaves at most a hidden `.NAME.PID-N.tmp`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

static COUNTER: AtomicU64 = AtomicU64::new(0);

pub(super) fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io { file: path.to_owned(), source }
}

/// Puts a file at `path` with what `fill` writes; an existing file is replaced as a whole.
///
/// On any error the temporary file is removed and `path` is as it was.
pub fn write_file(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<()> {
    let temporary = beside(path)?;
    let written = fill_and_sync(&temporary, fill).and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        // The first error is the one worth telling; a leftover is hidden and harmless.
        let _ = fs::remove_file(&temporary);
        return Err(io_error(path, source));
    }
    sync_directory(path).map_err(|source| io_error(path, source))
}

fn beside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::OutOfRange {
        argument: "path",
        expected: "a path that ends in a file name".into(),
        got: path.display().to_string(),
    })?;
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = format!(".{}.{}-{number}.tmp", name.to_string_lossy(), std::process::id());
    Ok(path.with_file_name(temporary))
}

fn fill_and_sync(temporary: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(temporary)?;
    let mut writer = BufWriter::with_capacity(1 << 20, &file);
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    file.sync_all()
}

/// Makes the rename itself durable. Only Unix can open a directory for this.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Write};

    use super::write_file;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_file(&path, |out| out.write_all(b"a longer first version")).unwrap();
        write_file(&path, |out| out.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_file(&path, |out| out.write_all(b"first")).unwrap();
        let failed = write_file(&path, |out| {
            out.write_all(b"half of the sec")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.unwrap_err().to_string().contains("disk full"));
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
