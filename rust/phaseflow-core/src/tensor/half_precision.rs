//! Half precision to single, by integer arithmetic that a loop can do on whole vector registers.
//!
//! The `half` crate asks at every number which instructions the machine has, which keeps a loop over it scalar.

use crate::vectorize::vectorize;

/// The value of IEEE half-precision `bits`, exactly.
#[inline(always)]
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    /// Exponent bits of a half, moved to where a single has them.
    const EXPONENT: u32 = 0x7c00 << 13;
    /// What to add to a half's exponent (bias 15) to get a single's (bias 127).
    const REBIAS: u32 = (127 - 15) << 23;
    /// 2^-14, the smallest normal half.
    const LEAST_NORMAL: f32 = f32::from_bits((127 - 14) << 23);

    let magnitude = u32::from(bits & 0x7fff) << 13;
    let exponent = magnitude & EXPONENT;
    let normal = f32::from_bits(magnitude + REBIAS);
    // Infinity and NaN: the exponent is full before and must be full after.
    let special = f32::from_bits(magnitude + 2 * REBIAS);
    // Subnormal: read with an implied leading one, which is then taken off. No subnormal single ever appears, on which
    // many processors are a hundred times slower.
    let subnormal = f32::from_bits(magnitude + REBIAS + (1 << 23)) - LEAST_NORMAL;
    let absolute = if exponent == EXPONENT {
        special
    } else if exponent == 0 {
        subnormal
    } else {
        normal
    };
    f32::from_bits(absolute.to_bits() | (u32::from(bits & 0x8000) << 16))
}

/// Many halves at once, as long as each other: by the processor's own instruction where it has one.
pub(super) fn widen_f16(from: &[u16], into: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx") && std::arch::is_x86_feature_detected!("f16c") {
            // SAFETY: `widen_with_f16c` needs nothing but the instruction sets that were detected one line above.
            return unsafe { widen_with_f16c(from, into) };
        }
    }
    vectorize(
        #[inline(always)]
        || into.iter_mut().zip(from).for_each(|(into, &bits)| *into = f16_to_f32(bits)),
    );
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,f16c")]
fn widen_with_f16c(from: &[u16], into: &mut [f32]) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};

    let ((halves, rest), (singles, rest_of_singles)) = (from.as_chunks::<8>(), into.as_chunks_mut::<8>());
    for (halves, singles) in halves.iter().zip(singles) {
        // SAFETY: eight halves are the sixteen bytes that are read; neither instruction asks for alignment.
        let halves = unsafe { _mm_loadu_si128(halves.as_ptr().cast()) };
        // SAFETY: eight singles are the 32 bytes that are written.
        unsafe { _mm256_storeu_ps(singles.as_mut_ptr(), _mm256_cvtph_ps(halves)) };
    }
    rest_of_singles.iter_mut().zip(rest).for_each(|(into, &bits)| *into = f16_to_f32(bits));
}

/// The value of bfloat16 `bits`: the upper half of a single's.
#[inline(always)]
pub(super) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn every_half_has_the_value_the_half_crate_gives_it() {
        for bits in 0..=u16::MAX {
            for (ours, theirs) in
                [(f16_to_f32(bits), f16::from_bits(bits).to_f32()), (bf16_to_f32(bits), bf16::from_bits(bits).to_f32())]
            {
                assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{bits:#06x}");
            }
        }
    }

    #[test]
    fn many_at_once_have_the_value_of_each() {
        let all: Vec<u16> = (0..=u16::MAX).chain([1, 2, 3]).collect();
        let mut wide = vec![0.0; all.len()];
        widen_f16(&all, &mut wide);
        for (&bits, wide) in all.iter().zip(&wide) {
            let one = f16_to_f32(bits);
            assert!(wide.to_bits() == one.to_bits() || (wide.is_nan() && one.is_nan()), "{bits:#06x}");
        }
    }
}
