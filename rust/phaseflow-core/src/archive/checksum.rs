//! Checksum of stored bytes: XXH3, 64 bits, written as 16 hexadecimal digits.
//!
//! It finds accidents (a flipped bit, a lost block), not malice. Source: Collet, the xxHash specification.

use xxhash_rust::xxh3::xxh3_64;

/// XXH3-64 of `bytes` as 16 lower-case hexadecimal digits.
pub fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn nothing_has_the_checksum_that_the_specification_gives_for_seed_zero() {
        assert_eq!(checksum(b""), "2d06800538d394c2");
    }

    #[test]
    fn one_flipped_bit_changes_it() {
        assert_ne!(checksum(&[0, 0, 0]), checksum(&[0, 1, 0]));
    }
}
