//! Checksum of stored bytes: XXH3, 64 bits, written as 16 hexadecimal digits.
//!
//! It finds accidents (a flipped bit, a lost block), not malice. Source: Collet, the xxHash specification.

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// XXH3-64 of `bytes` as 16 lower-case hexadecimal digits.
pub fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

/// The same of bytes that come in pieces.
#[derive(Default)]
pub(super) struct RunningChecksum(Xxh3Default);

impl RunningChecksum {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(&self) -> String {
        format!("{:016x}", self.0.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::{RunningChecksum, checksum};

    #[test]
    fn nothing_has_the_checksum_that_the_specification_gives_for_seed_zero() {
        assert_eq!(checksum(b""), "2d06800538d394c2");
    }

    #[test]
    fn pieces_have_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..3000_u32).map(|number| (number % 251) as u8).collect();
        for piece in [1, 7, 240, 2999] {
            let mut running = RunningChecksum::default();
            bytes.chunks(piece).for_each(|part| running.update(part));
            assert_eq!(running.finish(), checksum(&bytes));
        }
    }

    #[test]
    fn one_flipped_bit_changes_it() {
        assert_ne!(checksum(&[0, 0, 0]), checksum(&[0, 1, 0]));
    }
}
