//! Eigenvalues of small real matrices that need not be symmetric.
//!
//! Written here after trying what there is (2026-11): faer brings 57 crates and a minute and a half of compilation;
//! nalgebra brings 19 and never converges on a cyclic permutation of six, which is what a head that permutes tokens
//! looks like, and without balancing it loses all digits on a matrix whose rows differ in scale.

mod balance;
mod dense;
mod francis;
mod hessenberg;

pub use dense::Complex;
pub(super) use dense::eigenvalues;
