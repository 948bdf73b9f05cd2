//! Which segmentation is cheapest. All but the greedy ones, the seeded one and the window are exact.
//!
//! They minimise `sum of segment costs + penalty * number of changepoints` over segmentations whose segments have at
//! least `min_size` samples and whose changepoints are multiples of `jump`, or the sum of costs for a given number.

mod continuous;
mod envelope;
mod functional;
mod greedy;
mod optimal;
mod pelt;
mod piece;
mod robust;
mod runs;
mod seeded;
mod shaped;
mod window;

pub(crate) use continuous::{continuous_fixed, continuous_penalised};
pub(crate) use envelope::Envelope;
pub(crate) use functional::functional;
pub(crate) use greedy::{Stop, binary_segmentation, bottom_up};
pub(crate) use optimal::{optimal_fixed, optimal_penalised};
pub(crate) use pelt::pelt;
pub(crate) use robust::{clipped_cost, clipped_costs, robust};
pub(crate) use seeded::seeded;
pub use shaped::Shape;
pub(crate) use shaped::shaped;
pub(crate) use window::window;

/// Which changepoints are allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) n_samples: usize,
    pub(crate) min_size: usize,
    pub(crate) jump: usize,
}

impl Grid {
    /// Possible ends of a segment, increasing: the allowed changepoints, then the end of the signal.
    pub(crate) fn ends(self) -> impl Iterator<Item = usize> {
        let last = self.n_samples.saturating_sub(self.min_size);
        let first = self.min_size.div_ceil(self.jump) * self.jump;
        (first..=last).step_by(self.jump).chain(std::iter::once(self.n_samples))
    }
}

/// Follows `before[end] = start of the segment that ends there` from the end of the signal.
pub(crate) fn changepoints(before: &[usize]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut end = before.len() - 1;
    while before[end] > 0 {
        end = before[end];
        found.push(end);
    }
    found.reverse();
    found
}
