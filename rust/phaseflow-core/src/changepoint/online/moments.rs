//! Number, mean and sum of squared deviations of samples that come one by one (Welford 1962).

/// The three.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    /// How many samples.
    pub count: f64,
    /// Their mean; 0 of none.
    pub mean: f64,
    /// Sum of their squared distances from it.
    pub squares: f64,
}

impl Moments {
    /// With one sample more.
    #[must_use]
    pub fn with(self, value: f64) -> Self {
        let count = self.count + 1.0;
        let distance = value - self.mean;
        let mean = self.mean + distance / count;
        Self { count, mean, squares: self.squares + distance * (value - mean) }
    }
}

#[cfg(test)]
mod tests {
    use super::Moments;

    #[test]
    fn three_numbers() {
        // 1, 2, 6: mean 3, distances 2, 1, 3.
        let found = [1.0, 2.0, 6.0].into_iter().fold(Moments::default(), Moments::with);
        assert_eq!(found, Moments { count: 3.0, mean: 3.0, squares: 14.0 });
    }
}
