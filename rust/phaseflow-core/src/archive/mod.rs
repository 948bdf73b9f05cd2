//! Files of a run: written once and whole, checked before a byte of them is believed, read through a map.
//!
//! A shard is a safetensors file; `header` parses and checks it, `write` makes it, `stored` hands out its tensors.

mod checksum;
mod element;
mod header;
mod map;
mod reading;
mod shard;
mod stored;
mod write;

pub use checksum::checksum;
pub use element::ElementType;
pub use header::{Entry, Header};
pub use map::MappedFile;
pub use reading::may_stay_cached;
pub use shard::{NewTensor, Shard, write_shard};
pub use stored::StoredTensor;
pub use write::write_file;

#[cfg(target_endian = "big")]
compile_error!("archives are little endian and mapped as they lie: big-endian machines are not supported");
