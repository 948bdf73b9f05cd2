//! What a curve without a phase change may look like: the axis it is drawn on and the functions that span it.
//!
//! * axis `u = log10(x)` (scale "log") or `u = x` ("linear");
//! * base "decay": the span of `1, u, x^-1/4, x^-1/2` (straight lines in log x and power laws) **plus** a mixture of
//!   exponential relaxations `exp(-rate * x)`, rates spread evenly in log, weights random with one variance that is
//!   estimated from the curve. Every completely monotone curve (power law, exponential, sums of them) is such a
//!   mixture, so a base of this kind follows any relaxation, however small the noise, and nothing that is sharper
//!   than one relaxation in log x (10 to 90% within 1.34 decades); **and** bends that last to the end of the run, the
//!   span of `max(x - c last, 0)^2` with c of 0.7 and 0.85, as a decaying learning rate makes them: what has not ended is
//!   no window;
//! * base "power": the span alone, for curves known to be a power law;
//! * bases "cubic", "line", "constant" in `u`.

use crate::{Error, Result};

/// Spacing of the relaxation rates, in natural log: a kernel this smooth is summed exactly to rounding.
const RATE_SPACING: f64 = 0.5;
/// Slowest relaxation: e^-3 over the longest time, a straight line in x to within 5%.
const SLOWEST: f64 = -3.0;
/// Fastest relaxation: e^-(e^2) is left of it at the first checkpoint.
const FASTEST: f64 = 2.0;
/// Where a bend that lasts to the end of the run begins, over the last x.
const BENDS: [f64; 2] = [0.7, 0.85];

/// How x becomes the axis of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// `u = log10(x)`.
    Log,
    /// `u = x`.
    Linear,
}

impl Scale {
    /// The scale named `"log"` or `"linear"`.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "log" => Ok(Self::Log),
            "linear" => Ok(Self::Linear),
            _ => Err(Error::UnknownName {
                argument: "scale",
                got: name.into(),
                known: vec!["log".into(), "linear".into()],
            }),
        }
    }

    /// x as the model sees it.
    pub(crate) fn to_axis(self, x: f64) -> f64 {
        match self {
            Self::Log => x.log10(),
            Self::Linear => x,
        }
    }

    /// The x at a place of the axis.
    pub(crate) fn x_of_axis(self, u: f64) -> f64 {
        match self {
            Self::Log => 10.0_f64.powf(u),
            Self::Linear => u,
        }
    }
}

/// The family of smooth curves a window is tested against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Power laws, and a mixture of exponential relaxations.
    Decay,
    /// `1, u, x^-1/4, x^-1/2`.
    Power,
    /// A cubic polynomial in `u`.
    Cubic,
    /// A straight line in `u`.
    Line,
    /// A constant level.
    Constant,
}

impl Base {
    const ALL: [(&'static str, Self); 5] = [
        ("decay", Self::Decay),
        ("power", Self::Power),
        ("cubic", Self::Cubic),
        ("line", Self::Line),
        ("constant", Self::Constant),
    ];

    /// The base named `"decay"`, `"power"`, `"cubic"`, `"line"` or `"constant"`.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, base)| *base).ok_or_else(|| Error::UnknownName {
            argument: "base",
            got: name.into(),
            known: Self::ALL.iter().map(|(known, _)| (*known).into()).collect(),
        })
    }

    /// Whether its curves may bend to the end of the run.
    pub(crate) fn bends(self) -> bool {
        self == Self::Decay
    }

    fn needs_positive_x(self) -> bool {
        matches!(self, Self::Decay | Self::Power)
    }

    /// The columns whose coefficients are free.
    pub(crate) fn free_columns(self, x: &[f64], u: &[f64]) -> Vec<Vec<f64>> {
        let polynomial = |degree: i32| u.iter().map(|value| value.powi(degree)).collect::<Vec<f64>>();
        // Times relative to the geometric mean keep the powers near 1.
        let middle =
            (x.iter().map(|value| value.abs().max(f64::MIN_POSITIVE).ln()).sum::<f64>() / x.len() as f64).exp();
        let power = |exponent: f64| x.iter().map(|value| (value / middle).powf(exponent)).collect::<Vec<f64>>();
        let last = x.last().copied().unwrap_or(1.0);
        let bend = |begin: f64| x.iter().map(|value| (value / last - begin).max(0.0).powi(2)).collect::<Vec<f64>>();
        let powers = [polynomial(0), polynomial(1), power(-0.25), power(-0.5)];
        match self {
            Self::Decay => powers.into_iter().chain(BENDS.map(bend)).collect(),
            Self::Power => powers.into(),
            Self::Cubic => (0..4).map(polynomial).collect(),
            Self::Line => vec![polynomial(0), polynomial(1)],
            Self::Constant => vec![polynomial(0)],
        }
    }

    /// The columns whose coefficients are random with a common variance: the relaxations, none for other bases.
    pub(crate) fn random_columns(self, x: &[f64]) -> Vec<Vec<f64>> {
        let (Self::Decay, Some(first), Some(last)) = (self, x.first(), x.last()) else { return Vec::new() };
        let (slowest, fastest) = (SLOWEST - last.ln(), FASTEST - first.ln());
        let count = ((fastest - slowest) / RATE_SPACING).ceil() as usize + 1;
        (0..count)
            .map(|k| {
                let rate = (slowest + RATE_SPACING * k as f64).exp();
                x.iter().map(|value| RATE_SPACING.sqrt() * (-rate * value).exp()).collect()
            })
            .collect()
    }
}

/// Checks x against scale and base and returns the axis of the model.
pub(crate) fn axis(x: &[f64], scale: Scale, base: Base) -> Result<Vec<f64>> {
    for (index, &value) in x.iter().enumerate() {
        if !value.is_finite() {
            return Err(Error::NotFinite { argument: "x", index: index.to_string(), value });
        }
        if value <= 0.0 && (scale == Scale::Log || base.needs_positive_x()) {
            return Err(Error::OutOfRange {
                argument: "x",
                expected: "above 0 everywhere for scale \"log\" and for bases \"decay\" and \"power\" (leave out \
                           checkpoint 0, or pass scale=\"linear\" with base=\"cubic\")"
                    .into(),
                got: format!("{value} at index {index}"),
            });
        }
        if index > 0 && value <= x[index - 1] {
            return Err(Error::OutOfRange {
                argument: "x",
                expected: "strictly increasing".into(),
                got: format!("{} then {value} at index {index}", x[index - 1]),
            });
        }
    }
    let u: Vec<f64> = x.iter().map(|&value| scale.to_axis(value)).collect();
    if let Some(index) = (1..u.len()).find(|&index| u[index] <= u[index - 1]) {
        return Err(Error::OutOfRange {
            argument: "x",
            expected: "distinct on the chosen scale".into(),
            got: format!("{} and {} at index {index}, which differ by less than rounding", x[index - 1], x[index]),
        });
    }
    Ok(u)
}
