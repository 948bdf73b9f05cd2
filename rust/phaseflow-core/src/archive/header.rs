//! The header of a shard: a safetensors file whose metadata carries checksums and a seal.
//!
//! ```text
//! 8 bytes little endian n | n bytes of JSON, padded with spaces | data, no gaps
//! {"__metadata__": {"checksum/NAME": xxh3 of NAME's bytes, ..., "seal": xxh3 of everything else here},
//!  "NAME": {"dtype": "F16", "shape": [...], "data_offsets": [begin, end]}, ...}
//! ```
//!
//! Format: the safetensors crate, whose `Metadata` checks that the offsets tile the data and fit dtype and shape without overflow.
//! Here the data's end is also checked against the real file size, and the seal against the rest of the header, so that a flipped bit in a
//! name or a shape is found as surely as one in the data. A file by another writer has no seal; [`Header::sealed`] says so.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};

use super::checksum::checksum;
use super::element::ElementType;
use super::write::io_error;
use crate::{Error, Result};

/// Bytes of the length in front of the header.
pub(super) const LENGTH_BYTES: usize = 8;
/// No header of ours comes near; a longer one is refused before anything is allocated for it.
const MAX_HEADER: u64 = 32 << 20;
/// numpy's older limit, and that of the binding.
const MAX_AXES: usize = 32;
const SEAL: &str = "seal";
const CHECKSUM_PREFIX: &str = "checksum/";

/// One tensor of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, `attention/repeated/L00`.
    pub name: String,
    /// Its element type.
    pub dtype: ElementType,
    /// Length of every axis, row-major.
    pub shape: Vec<usize>,
    /// Where its bytes start, from the start of the file.
    pub offset: usize,
    /// How many bytes it has.
    pub length: usize,
    /// Checksum of its bytes as the writer saw them; `None` from a writer that keeps none.
    pub checksum: Option<String>,
}

/// What a shard says about itself, checked.
#[derive(Debug, Clone)]
pub struct Header {
    /// The tensors in the order of their bytes.
    pub entries: Vec<Entry>,
    /// The writer's own notes: run, step, rank.
    pub notes: BTreeMap<String, String>,
    /// Whether the header carries a seal, and so comes from phaseflow; a wrong seal is an error.
    pub sealed: bool,
}

impl Header {
    /// Reads and checks the header of the file at `path`; the tensors' bytes are not touched.
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|source| io_error(path, source))?;
        let size = file.metadata().map_err(|source| io_error(path, source))?.len();
        let mut prefix = [0; LENGTH_BYTES];
        if size < LENGTH_BYTES as u64 {
            return Err(corrupt(
                path,
                "header length",
                format!("at least {LENGTH_BYTES} bytes"),
                format!("{size} bytes"),
            ));
        }
        file.read_exact(&mut prefix).map_err(|source| io_error(path, source))?;
        let length = u64::from_le_bytes(prefix);
        let most = MAX_HEADER.min(size - LENGTH_BYTES as u64);
        if length > most {
            return Err(corrupt(path, "header length", format!("at most {most}"), length.to_string()));
        }
        let mut json = vec![0; length as usize];
        file.read_exact(&mut json).map_err(|source| io_error(path, source))?;
        Self::parse(path, &json, size)
    }

    /// Checks the JSON of a header against the size of its file; `path` is for messages.
    pub fn parse(path: &Path, json: &[u8], file_size: u64) -> Result<Self> {
        if json.len() as u64 > MAX_HEADER {
            return Err(corrupt(path, "header length", format!("at most {MAX_HEADER}"), json.len().to_string()));
        }
        let broken = |error: &dyn fmt::Display| corrupt(path, "header", "a safetensors header", error.to_string());
        let raw = RawHeader::from_json(json).map_err(|error| broken(&error))?;
        let mut tensors: Vec<(String, TensorInfo)> = raw.tensors.into_iter().collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        let data_start = LENGTH_BYTES + json.len();
        let data_length = tensors.last().map_or(0, |(_, info)| info.data_offsets.1);
        let found = file_size.checked_sub(data_start as u64);
        if found != u64::try_from(data_length).ok() {
            let found = found.map_or("none".to_owned(), |bytes| format!("{bytes} bytes"));
            return Err(corrupt(path, "data", format!("{data_length} bytes"), found));
        }
        // Tiling, sizes and overflow are the crate's checks.
        Metadata::new(None, tensors.clone()).map_err(|error| broken(&error))?;
        let sealed = check_seal(path, &raw.metadata, &tensors)?;
        let entries = tensors
            .into_iter()
            .map(|(name, info)| {
                if info.shape.len() > MAX_AXES {
                    return Err(corrupt(path, &name, format!("at most {MAX_AXES} axes"), info.shape.len().to_string()));
                }
                let (begin, end) = info.data_offsets;
                let checksum = raw.metadata.get(&format!("{CHECKSUM_PREFIX}{name}")).cloned();
                let dtype = ElementType::from_file(info.dtype);
                // No overflow: data_start + end is the file's size.
                Ok(Entry { name, dtype, shape: info.shape, offset: data_start + begin, length: end - begin, checksum })
            })
            .collect::<Result<_>>()?;
        let notes =
            raw.metadata.into_iter().filter(|(key, _)| key != SEAL && !key.starts_with(CHECKSUM_PREFIX)).collect();
        Ok(Self { entries, notes, sealed })
    }
}

/// The header's JSON, padded so that the data after it starts at a multiple of `alignment`.
pub(super) fn build(
    notes: &BTreeMap<String, String>,
    tensors: &[(String, TensorInfo)],
    checksums: &[String],
    alignment: usize,
) -> serde_json::Result<Vec<u8>> {
    let mut metadata = notes.clone();
    metadata.extend(
        tensors.iter().zip(checksums).map(|((name, _), sum)| (format!("{CHECKSUM_PREFIX}{name}"), sum.clone())),
    );
    metadata.insert(SEAL.to_owned(), seal(&metadata, tensors)?);
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), serde_json::to_value(&metadata)?);
    for (name, info) in tensors {
        header.insert(name.clone(), serde_json::to_value(info)?);
    }
    let mut json = serde_json::to_vec(&header)?;
    let padded = (LENGTH_BYTES + json.len()).next_multiple_of(alignment) - LENGTH_BYTES;
    json.resize(padded, b' ');
    Ok(json)
}

/// Checksum of all the header says, the seal itself left out.
fn seal(metadata: &BTreeMap<String, String>, tensors: &[(String, TensorInfo)]) -> serde_json::Result<String> {
    let unsealed: BTreeMap<_, _> = metadata.iter().filter(|(key, _)| *key != SEAL).collect();
    Ok(checksum(&serde_json::to_vec(&(unsealed, tensors))?))
}

fn check_seal(path: &Path, metadata: &BTreeMap<String, String>, tensors: &[(String, TensorInfo)]) -> Result<bool> {
    let Some(written) = metadata.get(SEAL) else { return Ok(false) };
    let computed = seal(metadata, tensors)
        .map_err(|error| corrupt(path, "seal", "a header that can be sealed", error.to_string()))?;
    if *written != computed {
        return Err(corrupt(path, "seal", written.clone(), computed));
    }
    Ok(true)
}

pub(super) fn corrupt(path: &Path, object: &str, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Corrupt {
        file: path.to_owned(),
        object: object.to_owned(),
        expected: expected.into(),
        found: found.into(),
        next: "restore the file from a copy, or remove it".into(),
    }
}

/// The JSON as it stands. A name that occurs twice is refused: two readers could each believe another one.
#[derive(Default)]
struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl RawHeader {
    fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let header = deserializer.deserialize_map(RawVisitor)?;
        deserializer.end()?;
        Ok(header)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawHeader;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawHeader, A::Error> {
        let mut header = RawHeader::default();
        let mut metadata_seen = false;
        while let Some(key) = map.next_key::<String>()? {
            let twice = if key == "__metadata__" {
                header.metadata = map.next_value()?;
                std::mem::replace(&mut metadata_seen, true)
            } else {
                header.tensors.insert(key.clone(), map.next_value()?).is_some()
            };
            if twice {
                return Err(A::Error::custom(format!("\"{key}\" occurs twice")));
            }
        }
        Ok(header)
    }
}
