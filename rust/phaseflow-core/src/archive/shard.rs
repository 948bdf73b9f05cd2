//! A shard: one immutable safetensors file with the tensors of one flush.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use safetensors::tensor::TensorInfo;

use super::checksum::{RunningChecksum, checksum};
use super::element::ElementType;
use super::header::{self, Entry, Header};
use super::map::MappedFile;
use super::stored::StoredTensor;
use super::write::write_file;
use crate::{Cancel, Error, Result};

/// Every tensor's first byte lies at a multiple of its element size, and the data at a cache line.
const DATA_ALIGNMENT: usize = 64;
/// Bytes that a thread reads at once to verify them.
const VERIFIED_AT_ONCE: usize = 8 << 20;

/// An open shard: its checked header and its mapped bytes.
#[derive(Debug)]
pub struct Shard {
    header: Header,
    file: Arc<MappedFile>,
}

impl Shard {
    /// Opens and checks a shard; the tensors' bytes are not touched.
    pub fn open(path: &Path) -> Result<Self> {
        let header = Header::read(path)?;
        Ok(Self { header, file: Arc::new(MappedFile::open(path)?) })
    }

    /// What it holds.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// One tensor, by name.
    pub fn tensor(&self, name: &str) -> Result<StoredTensor> {
        StoredTensor::open(&self.file, self.entry(name)?)
    }

    /// Reads every tensor, some megabytes of each thread at a time, and recomputes its checksum; the ones that differ,
    /// with (expected, found). `done` counts the bytes read.
    pub fn verify(&self, done: &AtomicU64, cancel: &Cancel) -> Result<Vec<(String, String, String)>> {
        let differing = self.header.entries.par_iter().map(|entry| {
            let Some(expected) = &entry.checksum else { return Ok(None) };
            let mut block = vec![0; entry.length.min(VERIFIED_AT_ONCE)];
            let mut running = RunningChecksum::default();
            for start in (0..entry.length).step_by(VERIFIED_AT_ONCE) {
                cancel.check()?;
                let part = &mut block[..(entry.length - start).min(VERIFIED_AT_ONCE)];
                self.file.read_at(&entry.name, entry.offset + start, part)?;
                running.update(part);
                done.fetch_add(part.len() as u64, Ordering::Relaxed);
            }
            let found = running.finish();
            Ok((found != *expected).then(|| (entry.name.clone(), expected.clone(), found)))
        });
        Ok(differing.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.header.entries.iter().find(|entry| entry.name == name).ok_or_else(|| Error::UnknownName {
            argument: "name",
            got: name.to_owned(),
            known: self.header.entries.iter().map(|entry| entry.name.clone()).collect(),
        })
    }
}

/// A tensor to be written.
#[derive(Debug, Clone)]
pub struct NewTensor<'a> {
    /// Its name, unique in the shard.
    pub name: String,
    /// Its element type.
    pub dtype: ElementType,
    /// Length of every axis.
    pub shape: Vec<usize>,
    /// Its bytes, row-major, little endian.
    pub bytes: &'a [u8],
}

/// Writes the tensors as one shard at `path`, whole or not at all. The same input gives the same bytes. Returns the header as written.
pub fn write_shard(path: &Path, mut tensors: Vec<NewTensor<'_>>, notes: &BTreeMap<String, String>) -> Result<Header> {
    // The largest elements first: with no gaps between tensors each one is then aligned.
    tensors.sort_by(|a, b| {
        b.dtype.to_file().bitsize().cmp(&a.dtype.to_file().bitsize()).then_with(|| a.name.cmp(&b.name))
    });
    let checksums: Vec<String> = tensors.par_iter().map(|tensor| checksum(tensor.bytes)).collect();
    let mut begin = 0;
    let infos: Vec<(String, TensorInfo)> = tensors
        .iter()
        .map(|tensor| {
            let end = begin + tensor.bytes.len();
            let info =
                TensorInfo { dtype: tensor.dtype.to_file(), shape: tensor.shape.clone(), data_offsets: (begin, end) };
            begin = end;
            (tensor.name.clone(), info)
        })
        .collect();
    let refused = |error: String| Error::Unsupported {
        what: format!("{} cannot be written: {error}", path.display()),
        next: "give every tensor its own name and as many bytes as its shape needs".into(),
    };
    let json = header::build(notes, &infos, &checksums, DATA_ALIGNMENT).map_err(|error| refused(error.to_string()))?;
    // What cannot be read back is not written.
    let size = (header::LENGTH_BYTES + json.len() + begin) as u64;
    let written = Header::parse(path, &json, size).map_err(|error| refused(error.to_string()))?;
    write_file(path, |out| {
        out.write_all(&(json.len() as u64).to_le_bytes())?;
        out.write_all(&json)?;
        tensors.iter().try_for_each(|tensor| out.write_all(tensor.bytes))
    })?;
    Ok(written)
}
