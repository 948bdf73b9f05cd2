//! A bend that lasts to the end of the run, held against a late window.
//!
//! A learning rate that decays bends the curve from where it begins on. The base has two such bends, from 0.7 and 0.85 of
//! the run; very many samples show that the true one began elsewhere, and the rest looks like a window. So what starts in
//! the last half of the run is a window only if it makes the curve likelier than one more bend `max(x - c last, 0)^2` at the
//! best place does, by [`Detector::lead_over_bend`]. Otherwise the bend joins the base of that curve.

use super::detector::Detector;
use super::likelihood::{Likelihood, Products};
use super::noise::Image;
use super::scan::Widths;
use crate::{Cancel, Result};

/// The part of the run from which on a window may be such a bend, and a bend may begin.
const LATE: f64 = 0.5;
/// Where the last one begins.
const LAST: f64 = 0.98;
/// Places tried at first, and how often the distance between them is halved around the best.
const PLACES: usize = 24;
const HALVINGS: usize = 5;
/// Samples with which a late window and a bend are equally good explanations if they are equally likely.
const EVEN_SAMPLES: f64 = 100.0;

impl Detector {
    /// Whether a window that starts at `x` may be a bend that the base lacks.
    pub(crate) fn may_bend(&self, x: f64) -> bool {
        self.options.base.bends() && x >= LATE * self.last()
    }

    /// By how much log-likelihood a late window must beat a bend. Few samples tell little about where a bend begins, and
    /// the two bends of the base do; with many a true window leads by much, and its second place must pay (Schwarz 1978,
    /// `ln n` apart from a constant).
    pub(crate) fn lead_over_bend(&self) -> f64 {
        (self.n_samples() as f64 / EVEN_SAMPLES).ln()
    }

    /// The likeliest bend beside `products`, with relaxations as a window of these widths has them at `tau`.
    pub(crate) fn best_bend(
        &self,
        products: &Products<'_>,
        widths: Widths,
        tau: usize,
        cancel: &Cancel,
    ) -> Result<Option<(Likelihood, Image)>> {
        let taus = if widths == Widths::All { tau..tau + 1 } else { 0..self.noise.taus.len() };
        let x: Vec<f64> = self.places.u.iter().map(|&place| self.x_at(place) / self.last()).collect();
        let bend = |begin: f64| x.iter().map(|x| ((x - begin).max(0.0) / (1.0 - begin)).powi(2)).collect::<Vec<f64>>();
        let bends_from = |begins: &[f64]| -> Result<Option<Bend>> {
            cancel.check()?;
            let images = self.noise.images(&begins.iter().copied().map(bend).collect::<Vec<_>>());
            let bends = begins.iter().zip(images).map(|(&begin, image)| {
                (begin, products.with(|rho, into| into.clone_from(&image.0[rho]), taus.clone()), image)
            });
            Ok(bends.reduce(likelier))
        };
        let mut step = (LAST - LATE) / PLACES as f64;
        let places: Vec<f64> = (0..=PLACES).map(|index| LATE + step * index as f64).collect();
        let mut best = bends_from(&places)?;
        for _ in 0..HALVINGS {
            step /= 2.0;
            let Some(so_far) = best else { break };
            let mut near = vec![so_far.0 - step, so_far.0 + step];
            near.retain(|begin| (LATE..=LAST).contains(begin));
            best = [Some(so_far), bends_from(&near)?].into_iter().flatten().reduce(likelier);
        }
        Ok(best.map(|best| (best.1, best.2)))
    }

    fn last(&self) -> f64 {
        self.x_at(self.places.u.last().copied().unwrap_or(1.0))
    }
}

/// Where it begins, and the curve beside it.
type Bend = (f64, Likelihood, Image);

/// The first of equals.
fn likelier(a: Bend, b: Bend) -> Bend {
    if b.1.value > a.1.value { b } else { a }
}
