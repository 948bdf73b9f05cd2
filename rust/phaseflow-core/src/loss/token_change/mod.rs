//! The one break of every single token's loss: where, how large, how sure.
//!
//! The mean loss hides most of what a model learns, because a token that is learned suddenly is one of millions
//! (Michaud 2023, *The Quantization Model of Neural Scaling*). Here each token's trajectory over the checkpoints is
//! tested by itself against smooth learning,
//!
//! ```text
//! y_t = smooth(u_t) + wander(u_t) + height · ramp(u_t; start, end) + noise_t          u = log10(step)
//! ```
//!
//! * `y` is the loss on the scale of the token's odds, `y = ln(e^loss - 1 + 0.001)`. From one checkpoint to the next
//!   it is the logits that jitter, so the loss of a confident token jitters little: on the demo's runs the noise
//!   variance of the loss grows 20,000-fold from 0.005 to 5 nats, that of `y` lies between 0.5 and 0.8. Above 3 nats
//!   `y` is the loss itself; differences far below 0.001 nats do not count.
//! * `smooth` is in the span of `1, u, step^-1/4, step^-1/2`, the base of the window detector.
//! * `wander` is a random walk in `u`, for what a token learns and unlearns slowly beside that. Its variance per
//!   decade, in units of the noise variance, is one of [`grid::WANDER`], chosen for each token by likelihood with and
//!   without a break.
//! * `noise` is normal and differs from token to token and from checkpoint to checkpoint: a variance of the token's own
//!   times one of the checkpoint's, which all tokens share ([`Grid::noise`]). A learning rate that decays takes it down;
//!   taken for even, noise that shrinks threefold makes six in ten of the breaks found false. Its tails, which the
//!   statistic takes for a normal's, are those of the null distribution ([`Grid::far_share`]).
//! * `ramp` goes from 0 to 1 between two checkpoints: neighbours (a step), or about 0.15, 0.3, 0.6 decades apart.
//!
//! No common trend is taken off first: a mean or median over tokens holds part of every drop that many tokens share,
//! and what is taken off the ones that drop comes back as a rise of all others. On the demo's runs taking off the
//! median cost a tenth of the drops and made a fifth more rises.
//!
//! The statistic is twice the gain in log likelihood by the best ramp, falling or rising. [`Grid::scan`] finds it for
//! every token, [`Grid::null`] simulates what it is for tokens that wander as these do and do not break.
//!
//! All tokens share the checkpoints, so everything that does not depend on the losses is prepared once
//! ([`grid::Level`]). With `Σ` the covariance of wander and noise and `q = Σ⁻¹ (y - smooth)` the generalised
//! residual, the gain of a ramp is `<q, ramp>² / (ramp' M ramp)`, and `<q, ramp>` is a difference of two running
//! sums. `Σ⁻¹` is a Kalman filter and its adjoint, whose gains are the same for all tokens: the whole test of a token
//! is a few passes over its checkpoints.

mod grid;
mod noise;
mod null;
mod outlier;
mod sample;
mod scan;
mod strip;
mod tails;

pub use grid::{Grid, Ramp};
pub use null::Null;
pub use sample::sample;
pub use scan::Scan;
