//! The same loop compiled for wider registers, chosen at run time.
//!
//! A wheel is built for baseline x86-64, whose registers hold two doubles; most machines have registers of four.
//! The loop stays ordinary safe Rust. Rust never fuses or reorders floating-point operations on its own, so the
//! bits are the same whichever copy runs.

/// Runs `work`, compiled for AVX2 where the machine has it.
///
/// `work` and the functions it calls in its inner loop must be `#[inline(always)]`: what is not inlined keeps the
/// baseline's instructions.
#[inline]
pub(crate) fn vectorize<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: `with_avx2` needs nothing but the instruction set that was detected one line above.
            return unsafe { with_avx2(work) };
        }
    }
    work()
}

/// Runs `work`, compiled for AVX2 with fused multiplication and addition where the machine has both; it is told whether
/// it may fuse. A fused product is rounded once instead of twice, so the last bits depend on the machine.
#[inline]
pub(crate) fn vectorize_fused<R>(work: impl FnOnce(bool) -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: `with_fused` needs nothing but the instruction sets that were detected one line above.
            return unsafe { with_fused(work) };
        }
    }
    work(false)
}

/// Whether the machine has AVX-512: thirty-two registers of eight doubles, twice as many and twice as wide.
///
/// A loop has to be laid out for them: one written for the narrower ones may become slower in them.
pub(crate) fn has_wide_registers() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// [`vectorize_fused`], but for AVX-512 where `work` is laid out for [wide registers](has_wide_registers).
#[inline]
pub(crate) fn vectorize_laid_out<R>(wide: bool, work: impl FnOnce(bool) -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if wide && has_wide_registers() {
            // SAFETY: `with_wide` needs nothing but the instruction sets that were detected one line above.
            return unsafe { with_wide(work) };
        }
    }
    vectorize_fused(work)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_fused<R>(work: impl FnOnce(bool) -> R) -> R {
    work(true)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,fma")]
fn with_wide<R>(work: impl FnOnce(bool) -> R) -> R {
    work(true)
}
