//! A shard comes back as it was written; a damaged or hostile one is an error or right data, never a crash or a wrong number.

#![allow(clippy::unwrap_used, reason = "a test may stop at what cannot happen")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use phaseflow_core::archive::{ElementType, NewTensor, Shard, StoredTensor, write_shard};
use phaseflow_core::tensor::{Dtype, Element};
use phaseflow_core::{Error, Result, with_view};
use proptest::prelude::*;

const F16: ElementType = ElementType::Float(Dtype::F16);
const F32: ElementType = ElementType::Float(Dtype::F32);
const F64: ElementType = ElementType::Float(Dtype::F64);

/// Three tensors in an order that would misalign them: `half` is all 1, `single` all 1.5, `double` all 2.5.
fn small(folder: &Path) -> (PathBuf, Vec<u8>) {
    let path = folder.join("a.safetensors");
    let halves = [0_u8, 0x3c].repeat(3);
    let singles = 1.5_f32.to_le_bytes().repeat(4);
    let doubles = 2.5_f64.to_le_bytes().repeat(2);
    let tensors = vec![
        NewTensor { name: "half".into(), dtype: F16, shape: vec![3], bytes: &halves },
        NewTensor { name: "single".into(), dtype: F32, shape: vec![2, 2], bytes: &singles },
        NewTensor { name: "double".into(), dtype: F64, shape: vec![1, 2], bytes: &doubles },
    ];
    write_shard(&path, tensors, &BTreeMap::from([("step".into(), "7".into())])).unwrap();
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

/// A file by another writer: this header, then `data` bytes.
fn foreign(folder: &Path, header: &str, data: usize) -> PathBuf {
    let path = folder.join("foreign.safetensors");
    let mut content = (header.len() as u64).to_le_bytes().to_vec();
    content.extend(header.as_bytes());
    content.resize(content.len() + data, 0);
    fs::write(&path, content).unwrap();
    path
}

fn open_all(path: &Path) -> Result<Vec<StoredTensor>> {
    let shard = Shard::open(path)?;
    shard.header().entries.iter().map(|entry| shard.tensor(&entry.name)).collect()
}

fn values(tensor: &StoredTensor) -> Vec<f64> {
    with_view!(tensor.view().unwrap(), |array| array.iter().map(|value| value.to_f64()).collect())
}

fn refusal(path: &Path) -> String {
    let error = open_all(path).err().unwrap();
    assert!(matches!(error, Error::Corrupt { .. } | Error::Unsupported { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn tensors_come_back_with_name_type_shape_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = small(folder.path());
    let shard = Shard::open(&path).unwrap();
    for (name, dtype, shape, expected) in [
        ("half", F16, vec![3], vec![1.0; 3]),
        ("single", F32, vec![2, 2], vec![1.5; 4]),
        ("double", F64, vec![1, 2], vec![2.5; 2]),
    ] {
        let tensor = shard.tensor(name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape(), values(&tensor)), (dtype, &shape[..], expected));
    }
    assert!(shard.header().sealed);
    assert_eq!(shard.header().notes["step"], "7");
    assert_eq!(shard.verify(&std::sync::atomic::AtomicU64::new(0), &phaseflow_core::Cancel::new()).unwrap(), []);
    assert!(shard.tensor("other").err().unwrap().to_string().contains("known: double, single, half"));
}

#[test]
fn every_tensor_is_aligned_so_that_none_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = small(folder.path());
    for entry in &Shard::open(&path).unwrap().header().entries {
        let ElementType::Float(dtype) = entry.dtype else { continue };
        assert_eq!(entry.offset % dtype.size(), 0, "{}", entry.name);
    }
}

#[test]
fn the_same_tensors_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (_, first) = small(folder.path());
    let (_, second) = small(folder.path());
    assert_eq!(first, second);
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = small(folder.path());
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let text = refusal(&path);
        assert!(text.contains("a.safetensors") && text.contains("expected") && text.contains("found"), "{text}");
    }
    fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    assert!(refusal(&path).contains("data: expected"));
}

#[test]
fn any_flipped_bit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = small(folder.path());
    let intact = Shard::open(&path).unwrap().header().clone();
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).unwrap();
        // Either it is refused, or its checksums tell, or the flip turned one blank of the padding into another.
        if let Ok(shard) = Shard::open(&path)
            && shard.header().sealed
            && shard.verify(&std::sync::atomic::AtomicU64::new(0), &phaseflow_core::Cancel::new()).unwrap().is_empty()
        {
            assert_eq!(shard.header().entries, intact.entries, "bit {bit}");
            assert!(flipped[bit / 8].is_ascii_whitespace(), "bit {bit}");
        }
    }
}

#[test]
fn hostile_headers_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (header, data, expected) in [
        (r#"{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 0]}}"#, 0, "overflow"),
        (
            r#"{"a": {"dtype": "F32", "shape": [0, 4611686018427387904, 4611686018427387904], "data_offsets": [0, 0]}}"#,
            0,
            "array of shape",
        ),
        (r#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 18446744073709551615]}}"#, 8, "data"),
        (r#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}"#, 0, "offset"),
        (
            r#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}"#,
            12,
            "offset",
        ),
        (r#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}"#, 12, "offset"),
        (r#"{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}"#, 8, "invalid shape"),
        (r#"{"a": {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]}}"#, 8, "F33"),
        (r#"{"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}"#, 2, "element type U8"),
        (r#"{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}"#, 4, "header"),
        (
            r#"{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#,
            4,
            "\"a\" occurs twice",
        ),
        (r#"{"__metadata__": {}, "__metadata__": {}}"#, 0, "occurs twice"),
        (r#"{"__metadata__": {"seal": "0"}}"#, 0, "seal"),
        (r#"{"__metadata__": 3}"#, 0, "header"),
        (r#"{} {}"#, 0, "header"),
        ("[]", 0, "header"),
        ("", 0, "header"),
    ] {
        let text = refusal(&foreign(folder.path(), header, data));
        assert!(text.contains(expected), "{header}: {text}");
    }
    let nested = "[".repeat(100_000);
    assert!(refusal(&foreign(folder.path(), &format!(r#"{{"a": {nested}"#), 0)).contains("header"));
    let axes = vec!["1"; 33].join(",");
    let many = format!(r#"{{"a": {{"dtype": "F32", "shape": [{axes}], "data_offsets": [0, 4]}}}}"#);
    assert!(refusal(&foreign(folder.path(), &many, 4)).contains("at most 32 axes"));
}

#[test]
fn a_header_longer_than_the_file_is_refused_before_memory_is_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    for length in [17, 1 << 30, u64::MAX] {
        fs::write(&path, [&length.to_le_bytes()[..], b"{}"].concat()).unwrap();
        assert!(refusal(&path).contains("header length: expected at most 2, found"));
    }
}

#[test]
fn a_misaligned_tensor_of_another_writer_is_copied_and_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = r#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}"#.to_owned();
    while header.len() % 4 != 1 {
        header.push(' ');
    }
    let path = foreign(folder.path(), &header, 0);
    let mut content = fs::read(&path).unwrap();
    content.extend([1.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()));
    fs::write(&path, content).unwrap();
    let shard = Shard::open(&path).unwrap();
    assert!(!shard.header().sealed);
    assert_eq!(values(&shard.tensor("a").unwrap()), [1.5, -2.0]);
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let tensor = |name: &str, shape: Vec<usize>| NewTensor { name: name.into(), dtype: F32, shape, bytes: &[0; 8] };
    for tensors in [
        vec![tensor("a", vec![3])],
        vec![tensor("a", vec![2]), tensor("a", vec![2])],
        vec![tensor("__metadata__", vec![2])],
    ] {
        assert!(matches!(write_shard(&path, tensors, &BTreeMap::new()), Err(Error::Unsupported { .. })));
        assert!(!path.exists());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_crash(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        fs::write(&path, &content).unwrap();
        let _ = open_all(&path);
    }

    #[test]
    fn arbitrary_edits_of_a_shard_never_crash_and_never_pass_unseen(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, bytes) = small(folder.path());
        let mut edited = bytes.clone();
        for (at, byte) in edits {
            edited[at.index(bytes.len())] = byte;
        }
        edited.truncate(bytes.len() - cut.index(bytes.len()) / 8);
        fs::write(&path, &edited).unwrap();
        if let Ok(shard) = Shard::open(&path)
            && shard.header().sealed
            && shard.verify(&std::sync::atomic::AtomicU64::new(0), &phaseflow_core::Cancel::new()).unwrap().is_empty()
        {
            for (name, value) in [("half", 1.0), ("single", 1.5), ("double", 2.5)] {
                prop_assert!(values(&shard.tensor(name).unwrap()).iter().all(|found| *found == value));
            }
        }
    }

    #[test]
    fn headers_that_are_nearly_right_never_crash(
        dtype in prop::sample::select(vec!["F16", "BF16", "F32", "F64", "I64", "BOOL", "F4"]),
        shape in proptest::collection::vec(prop_oneof![0_u64..5, Just(u64::MAX), Just(1 << 62), Just(1 << 32)], 0..5),
        begin in 0_u64..3,
        length in prop_oneof![0_u64..40, Just(u64::MAX - 1)],
        data in 0_usize..40,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let end = begin.saturating_add(length);
        let header = format!(r#"{{"a": {{"dtype": "{dtype}", "shape": {shape:?}, "data_offsets": [{begin}, {end}]}}}}"#);
        if let Ok(tensors) = open_all(&foreign(folder.path(), &header, data)) {
            prop_assert_eq!(tensors[0].bytes().len(), data);
        }
    }
}
