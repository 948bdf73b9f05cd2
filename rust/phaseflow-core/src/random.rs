//! A small seeded generator: the same numbers on every machine, for every number of threads.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): the state walks by the golden ratio and a mixing function turns it into a
//! number. A computation that runs in parallel gives every unit of work its own [`Random::stream`], so the result does
//! not depend on who did it first.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// The generator.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
    spare: Option<f64>,
}

impl Random {
    /// A generator that is a function of `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self { state: mix(seed.wrapping_add(GOLDEN)), spare: None }
    }

    /// The generator of one unit of work: a function of `seed` and `index`, unrelated to its neighbours'.
    pub fn stream(seed: u64, index: u64) -> Self {
        Self { state: mix(mix(seed.wrapping_add(GOLDEN)) ^ index.wrapping_mul(GOLDEN)), spare: None }
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// Uniform on `[0, 1)`, a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform on `0..bound`; 0 where `bound` is 0. Unbiased to 2^-64 (multiply and shift).
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A standard normal deviate (Marsaglia's polar method; every second one is kept for the next call).
    pub fn normal(&mut self) -> f64 {
        if let Some(deviate) = self.spare.take() {
            return deviate;
        }
        loop {
            let (a, b) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let radius = a * a + b * b;
            if radius > 0.0 && radius < 1.0 {
                let scale = (-2.0 * radius.ln() / radius).sqrt();
                self.spare = Some(b * scale);
                return a * scale;
            }
        }
    }

    /// A deviate of Student's t with `1 / tails` degrees of freedom, more than 2, scaled to variance 1; `tails` of 0 is
    /// the normal. A smooth function of `tails` above 0 (Bailey 1994: polar, from two uniform numbers).
    pub fn student(&mut self, tails: f64) -> f64 {
        if tails == 0.0 {
            return self.normal();
        }
        let (radius, angle) = (1.0 - self.uniform(), std::f64::consts::TAU * self.uniform());
        ((1.0 - 2.0 * tails) * (-2.0 * tails * radius.ln()).exp_m1() / tails).sqrt() * angle.cos()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_generator_is_splitmix64() {
        // First outputs for state 1234567, from the reference implementation at prng.di.unimi.it.
        let mut random = Random { state: 1_234_567, spare: None };
        let first: [u64; 3] = std::array::from_fn(|_| random.bits());
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn normal_deviates_have_the_moments_of_a_normal() {
        let mut random = Random::new(1);
        let draws: Vec<f64> = (0..200_000).map(|_| random.normal()).collect();
        let moment = |power: i32| draws.iter().map(|x| x.powi(power)).sum::<f64>() / draws.len() as f64;
        assert!(moment(1).abs() < 0.01);
        assert!((moment(2) - 1.0).abs() < 0.015);
        assert!((moment(4) - 3.0).abs() < 0.1);
    }

    #[test]
    fn student_deviates_have_its_variance_and_its_tails() {
        // Of Student's t with 5 degrees of freedom 1 in 10, 100, 1000 lies beyond 2.015, 4.032, 6.869 (its table); its
        // variance is 5/3.
        let mut random = Random::new(4);
        let draws: Vec<f64> = (0..400_000).map(|_| random.student(0.2) * (5.0_f64 / 3.0).sqrt()).collect();
        let mean = |of: &dyn Fn(f64) -> f64| draws.iter().map(|&x| of(x)).sum::<f64>() / draws.len() as f64;
        assert!(mean(&|x| x).abs() < 0.01);
        assert!((mean(&|x| x * x) - 5.0 / 3.0).abs() < 0.03);
        for (limit, share) in [(2.015, 0.1), (4.032, 0.01), (6.869, 0.001)] {
            let beyond = mean(&|x| f64::from(x.abs() > limit));
            assert!((beyond / share - 1.0).abs() < 0.2, "{limit} {beyond}");
        }
        // Next to the normal, whose 1 in 100 lies beyond 2.576.
        let normal = (0..400_000).filter(|_| random.student(1e-6).abs() > 2.576).count();
        assert!((3_800..4_200).contains(&normal), "{normal}");
    }

    #[test]
    fn integers_below_a_bound_are_equally_frequent() {
        let mut random = Random::new(2);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[random.below(7)] += 1;
        }
        assert!(counts.iter().all(|&count| (9_600..10_400).contains(&count)), "{counts:?}");
    }

    #[test]
    fn streams_of_one_seed_are_uncorrelated() {
        let draw = |index| {
            let mut random = Random::stream(3, index);
            (0..10_000).map(|_| random.normal()).collect::<Vec<_>>()
        };
        let (a, b) = (draw(0), draw(1));
        let product = a.iter().zip(&b).map(|(x, y)| x * y).sum::<f64>() / a.len() as f64;
        assert!(product.abs() < 0.04, "{product}");
    }
}
