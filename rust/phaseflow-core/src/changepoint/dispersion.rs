//! How much more counts vary than Poisson's law lets them (quasi-Poisson, McCullagh and Nelder 1989), seen through changes.
//!
//! Of two neighbouring counts with one rate, given their sum s, each is binomial: the mean of `difference^2 / s` is 1,
//! whatever the rate. Overdispersed counts have a larger one, and a change of rate touches one difference only, which
//! counts [`WILD`] times the mean at most.

use ndarray::ArrayView2;

/// Squares above so many times their mean count as that.
const WILD: f64 = 9.0;
/// Mean of so cut squares of a standard normal deviate.
const KEPT: f64 = 0.995;
const ROUNDS: usize = 6;

/// Variance of counts over that of Poisson's law, at least 1; mean over features.
pub(crate) fn dispersion(counts: ArrayView2<'_, f64>) -> f64 {
    let features = counts.ncols().max(1) as f64;
    counts.columns().into_iter().map(|column| of_feature(&column.to_vec()).max(1.0) / features).sum()
}

fn of_feature(y: &[f64]) -> f64 {
    let neighbours = y.iter().zip(y.iter().skip(1)).filter(|(a, b)| *a + *b > 0.0);
    let ratios: Vec<f64> = neighbours.map(|(a, b)| (b - a) * (b - a) / (a + b)).collect();
    if ratios.is_empty() {
        return 1.0;
    }
    let cut_mean = |most: f64| ratios.iter().map(|ratio| ratio.min(most)).sum::<f64>() / ratios.len() as f64;
    let mean = (0..ROUNDS).fold(cut_mean(f64::INFINITY), |mean, _| cut_mean(WILD * mean));
    mean / KEPT
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::dispersion;

    #[test]
    fn the_dispersion_of_counts_is_the_mean_of_their_squared_differences_over_their_sums() {
        // 4 / 4 and 16 / 6.
        let found = dispersion(array![[3.0], [1.0], [5.0]].view());
        assert!((found - 0.5 * (1.0 + 16.0 / 6.0) / 0.995).abs() < 1e-14);
        assert_eq!(dispersion(array![[0.0], [0.0], [0.0]].view()), 1.0);
        // Less than Poisson's is no reason to charge less.
        assert_eq!(dispersion(array![[5.0], [5.0], [5.0]].view()), 1.0);
        let both = dispersion(array![[3.0, 5.0], [1.0, 5.0], [5.0, 5.0]].view());
        assert!((both - 0.5 * (found + 1.0)).abs() < 1e-14);
    }

    #[test]
    fn one_change_counts_little() {
        let counts = |i: usize| [1.0, 3.0, 2.0][i % 3] + if i < 100 { 0.0 } else { 1e4 };
        let column = |upto: usize| ndarray::Array2::from_shape_fn((upto, 1), |(i, _)| counts(i));
        assert!(dispersion(column(101).view()) < 1.1);
    }
}
