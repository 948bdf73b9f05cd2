//! Seeded random integers, the same on every machine and thread.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): a counter that steps by the golden ratio, hashed. A stream is named by
//! `(seed, stream)`, so that resample 17 is the same whichever thread draws it, and before or after any other.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One stream of random integers.
pub(super) struct Random(u64);

impl Random {
    /// The stream `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(GOLDEN)).wrapping_add(stream.wrapping_mul(GOLDEN))))
    }

    /// An integer in `0..bound`, by the upper half of the product: off uniform by less than `bound / 2^64`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(GOLDEN);
        ((u128::from(mix(self.0)) * bound as u128) >> 64) as usize
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // First outputs for state 1234567, from the reference implementation at prng.di.unimi.it.
        let mut state = 1_234_567_u64;
        let mut next = || {
            state = state.wrapping_add(GOLDEN);
            mix(state)
        };
        assert_eq!(
            [next(), next(), next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn every_value_below_the_bound_is_as_likely() {
        let mut counts = [0_u32; 7];
        let mut random = Random::new(0, 3);
        for _ in 0..70_000 {
            counts[random.below(7)] += 1;
        }
        // Chi-square with 6 degrees of freedom: above 22.5 once in a thousand.
        let chi_square: f64 = counts.iter().map(|&count| (f64::from(count) - 1e4).powi(2) / 1e4).sum();
        assert!(chi_square < 22.5, "{chi_square}");
    }

    #[test]
    fn streams_differ() {
        let draw = |stream| Random::new(5, stream).below(usize::MAX);
        assert_ne!(draw(0), draw(1));
    }
}
