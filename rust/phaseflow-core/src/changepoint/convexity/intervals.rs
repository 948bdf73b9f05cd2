//! From significant contrasts to stretches of the curve: where, how far above the chord, how sure.
//!
//! Each significant contrast says that the curve is not convex somewhere within its three blocks. Of those that contain
//! another significant one only the other is kept (Dümbgen and Walther 2008); those that are left and overlap make one
//! stretch. How large and how sure it is, is read off the surest of all significant contrasts whose middle block meets
//! the stretch.

use super::contrast::Contrast;

/// A stretch where a curve is not convex.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bump {
    /// First sample.
    pub start: usize,
    /// Last sample.
    pub end: usize,
    /// How far the curve lies above a chord there.
    pub size: f64,
    /// Standard error of that.
    pub standard_error: f64,
    /// How often a convex curve with such noise has a contrast as clear as the clearest here.
    pub p_value: f64,
}

impl Bump {
    pub(super) fn of(contrast: &Contrast, size: f64, standard_error: f64, p_value: f64) -> Self {
        Self { start: contrast.start, end: contrast.end - 1, size, standard_error, p_value }
    }
}

/// The stretches of one curve, in order.
pub(super) fn bumps(significant: &[(&Contrast, Bump)]) -> Vec<Bump> {
    let mut spans: Vec<(usize, usize)> = significant.iter().map(|(_, bump)| (bump.start, bump.end)).collect();
    // Later starts first, shorter ones first: one that contains another comes after it.
    spans.sort_unstable_by_key(|&(start, end)| (std::cmp::Reverse(start), end));
    let mut nearest_end = usize::MAX;
    spans.retain(|&(_, end)| {
        let minimal = end < nearest_end;
        nearest_end = nearest_end.min(end);
        minimal
    });
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for &(start, end) in spans.iter().rev() {
        match stretches.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => stretches.push((start, end)),
        }
    }
    stretches.into_iter().filter_map(|(start, end)| surest(significant, start, end)).collect()
}

/// The stretch with what the surest contrast that has its middle there says.
fn surest(significant: &[(&Contrast, Bump)], start: usize, end: usize) -> Option<Bump> {
    let there = significant.iter().filter(|(contrast, _)| contrast.middle <= end && contrast.right > start);
    let clearest = there.min_by(|(_, one), (_, other)| {
        let sureness = |bump: &Bump| bump.size / bump.standard_error;
        one.p_value.total_cmp(&other.p_value).then(sureness(other).total_cmp(&sureness(one)))
    });
    clearest.map(|&(_, bump)| Bump { start, end, ..bump })
}
