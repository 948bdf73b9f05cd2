//! From curves to windows.
//!
//! Rounds: every curve that is still open is fitted (in parallel), the noise levels this needs are simulated, and a
//! curve whose best window is significant keeps it and goes into the next round, where that window is a column of its
//! base. Most curves have no window: what the first fit sees of a curve is forgotten and made anew for the others. What a
//! further round finds touching an earlier window is taken for the rest of its shape, and a window larger than all the
//! curve ever did (base and window then run against each other) for a bend the base lacks: either stays in the base and
//! is not reported.

use std::sync::Arc;

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::curves::{Curve, Found, Role, touches};
use super::detector::Detector;
use super::fit::{Fit, best_window};
use super::interval::{Intervals, intervals};
use super::likelihood::{Likelihood, Products};
use super::noise::Image;
use super::null::Null;
use super::refine::{Change, refine};
use super::rest::rest;
use crate::{Cancel, Error, Result};

/// Columns that are not reported, at most, for each that is.
const UNREPORTED: usize = 2;
/// Bends to the end of the run that a curve may have beside those of the base.
const MOST_BENDS: usize = 2;
/// A phase change of one curve, in the units of x and of the signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Row of the signal.
    pub series: usize,
    /// Where it starts, and the 95% interval of that.
    pub start: f64,
    /// Lower and upper end.
    pub start_interval: (f64, f64),
    /// Where it ends.
    pub end: f64,
    /// Lower and upper end.
    pub end_interval: (f64, f64),
    /// Height over the base: negative for a drop.
    pub size: f64,
    /// Lower and upper end.
    pub size_interval: (f64, f64),
    /// Probability of a window this clear on a curve without one.
    pub p_value: f64,
}

/// What [`Detector::detect`] returns.
#[derive(Debug, Clone)]
pub struct Windows {
    /// All windows, by series and start.
    pub windows: Vec<Window>,
    /// The p-value of the clearest window of every series, significant or not.
    pub p_values: Vec<f64>,
    /// What a series with a significant window has beside its windows, one value a sample: noise that is all of one size
    /// where it is as strong as assumed.
    pub rests: Vec<(usize, Vec<f64>)>,
}

/// The clearest window of a series, significant or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clearest {
    /// Twice its gain in restricted log-likelihood.
    pub statistic: f64,
    /// The checkpoints it starts and ends at; `None` where the base fits to rounding.
    pub window: Option<(usize, usize)>,
}

/// When a window counts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// False-alarm rate of one series.
    pub level: f64,
    /// Most windows of a series.
    pub max_windows: usize,
    /// Smallest absolute size reported, in units of the signal.
    pub min_size: f64,
}

impl Detector {
    /// The windows of every row of `signals` (series, sample).
    pub fn detect(&self, signals: ArrayView2<'_, f64>, limits: Limits, cancel: &Cancel) -> Result<Windows> {
        check_signals(self, &signals)?;
        check_limits(limits)?;
        self.prepare(cancel)?;
        let fits = self.fit_alone(signals, cancel)?;
        let fits: Vec<Option<Fit>> = fits.into_iter().map(Some).collect();
        let nulls = self.nulls(&fits, cancel)?;
        let p_values = fits.iter().zip(&nulls).map(|(fit, null)| p_value(null, fit.map_or(0.0, |fit| fit.statistic)));
        let mut found = Windows { windows: Vec::new(), p_values: p_values.collect(), rests: Vec::new() };
        let sure: Vec<usize> = (0..fits.len()).filter(|&series| found.p_values[series] <= limits.level).collect();
        for some in sure.chunks(self.curves_at_once()) {
            let mut curves = self.curves(signals, some, cancel)?;
            let first = some.iter().map(|&series| fits[series]).collect();
            self.rounds(&mut curves, first, limits, cancel)?;
            self.describe(&curves, limits, &mut found, cancel)?;
        }
        Ok(found)
    }

    fn describe(&self, curves: &[Curve], limits: Limits, found: &mut Windows, cancel: &Cancel) -> Result<()> {
        let windows = curves.par_iter().map(|curve| self.report(curve, limits, cancel)).collect::<Result<Vec<_>>>()?;
        let rests: Vec<_> = curves
            .par_iter()
            .filter(|curve| curve.p_value.is_some_and(|p_value| p_value <= limits.level))
            .map(|curve| {
                cancel.check()?;
                Ok((curve.series, rest(self, &curve.known(), &curve.image)))
            })
            .collect::<Result<_>>()?;
        found.windows.extend(windows.into_iter().flatten());
        found.rests.extend(rests);
        for curve in curves {
            found.p_values[curve.series] = curve.p_value.unwrap_or(1.0);
        }
        Ok(())
    }

    /// The clearest window of every row, whether significant or not: the statistic, and start and end as checkpoints.
    pub fn clearest(&self, signals: ArrayView2<'_, f64>, cancel: &Cancel) -> Result<Vec<Clearest>> {
        check_signals(self, &signals)?;
        self.prepare(cancel)?;
        let sample = |slot: usize| self.places.candidates[slot];
        let clearest = |fit: Fit| Clearest {
            statistic: fit.statistic,
            window: fit.window.map(|(start, end)| (sample(start), sample(end))),
        };
        Ok(self.fit_alone(signals, cancel)?.into_iter().map(clearest).collect())
    }

    /// Until no curve is open; `first` is how each fits.
    fn rounds(&self, curves: &mut [Curve], first: Vec<Option<Fit>>, limits: Limits, cancel: &Cancel) -> Result<()> {
        let mut fits = first;
        while fits.iter().any(Option::is_some) {
            self.round(curves, &fits, limits, cancel)?;
            fits = curves
                .par_iter()
                .map(|curve| {
                    cancel.check()?;
                    curve.open.then(|| best_window(self, &curve.known(), &curve.image, cancel)).transpose()
                })
                .collect::<Result<_>>()?;
        }
        Ok(())
    }

    /// The simulated distributions that these windows are held against.
    fn nulls(&self, fits: &[Option<Fit>], cancel: &Cancel) -> Result<Vec<Option<Arc<Null>>>> {
        let with_window = |fit: &Option<Fit>| fit.filter(|fit| fit.window.is_some());
        fits.iter().map(|fit| with_window(fit).map(|fit| self.null(fit.null_level, cancel)).transpose()).collect()
    }

    fn round(&self, curves: &mut [Curve], fits: &[Option<Fit>], limits: Limits, cancel: &Cancel) -> Result<()> {
        let nulls = self.nulls(fits, cancel)?;
        curves.par_iter_mut().zip(fits).zip(&nulls).try_for_each(|((curve, fit), null)| {
            cancel.check()?;
            let Some(fit) = fit else { return Ok(()) };
            let p_value = p_value(null, fit.statistic * curve.freedom_left(self.noise.freedom));
            if p_value <= limits.level
                && let Some(bend) = self.bends_instead(curve, fit, cancel)?
            {
                curve.bends.push(bend);
                return Ok(());
            }
            curve.p_value.get_or_insert(p_value);
            self.decide(curve, fit, p_value, limits);
            Ok(())
        })
    }

    /// The bend that explains the curve as well as a significant late window does.
    fn bends_instead(&self, curve: &Curve, fit: &Fit, cancel: &Cancel) -> Result<Option<Image>> {
        let late = fit.window.is_some_and(|(start, _)| self.may_bend(self.x_at(self.places.at(start))));
        if !late || curve.bends.len() >= MOST_BENDS {
            return Ok(None);
        }
        let known = curve.known();
        let products = Products::new(&self.noise, &known, &curve.image);
        let bend = self.best_bend(&products, fit.widths, fit.alternative.level.tau, cancel)?;
        let explains = |bend: &Likelihood| bend.value + self.lead_over_bend() >= fit.alternative.value;
        Ok(bend.filter(|(bend, _)| explains(bend)).map(|(_, image)| image))
    }

    /// Takes the window into the curve's base, or closes the curve.
    fn decide(&self, curve: &mut Curve, fit: &Fit, p_value: f64, limits: Limits) {
        curve.open = false;
        let Some((start, end)) = fit.window.filter(|_| p_value <= limits.level) else { return };
        let (start, end) = (self.places.at(start), self.places.at(end));
        let Some(change) = refine(self, &curve.known(), &curve.image, start, end) else { return };
        let touched = curve.found.iter().any(|found| found.role == Role::Reported && touches(&found.change, &change));
        let role = match touched {
            true => Role::Mends,
            false if curve.runs_away(&change) => Role::Bends,
            false => Role::Reported,
        };
        let image = self.noise.image(&change.shape.over(&self.places.u, change.start, change.end));
        curve.found.push(Found { change, image, p_value, role });
        let reported = curve.found.iter().filter(|found| found.role == Role::Reported).count();
        let unreported = curve.found.len() - reported;
        curve.open = reported < limits.max_windows && unreported < UNREPORTED * reported.max(1);
    }

    fn report(&self, curve: &Curve, limits: Limits, cancel: &Cancel) -> Result<Vec<Window>> {
        let mut windows = Vec::new();
        for (index, found) in curve.found.iter().enumerate() {
            cancel.check()?;
            if found.role != Role::Reported {
                continue;
            }
            // The other windows are part of the base; what only mends this one's shape is not.
            let others: Vec<&Image> = curve
                .found
                .iter()
                .enumerate()
                .filter(|(other, also)| *other != index && !also.mends(&found.change))
                .map(|(_, also)| &also.image)
                .chain(&curve.bends)
                .collect();
            let change = refine(self, &others, &curve.image, found.change.start, found.change.end)
                .filter(|change| !curve.runs_away(change))
                .unwrap_or(found.change);
            if change.size.abs() * curve.scale >= limits.min_size {
                let intervals = intervals(self, &others, &curve.image, &change);
                windows.push(self.window(curve, &change, &intervals, found.p_value));
            }
        }
        windows.sort_by(|a, b| a.start.total_cmp(&b.start));
        Ok(windows)
    }

    fn window(&self, curve: &Curve, change: &Change, intervals: &Intervals, p_value: f64) -> Window {
        let places = |interval: (f64, f64)| (self.x_at(interval.0), self.x_at(interval.1));
        Window {
            series: curve.series,
            start: self.x_at(change.start),
            start_interval: places(intervals.start),
            end: self.x_at(change.end),
            end_interval: places(intervals.end),
            size: change.size * curve.scale,
            size_interval: (intervals.size.0 * curve.scale, intervals.size.1 * curve.scale),
            p_value,
        }
    }
}

fn p_value(null: &Option<Arc<Null>>, statistic: f64) -> f64 {
    null.as_ref().map_or(1.0, |null| null.p_value(statistic))
}

fn check_signals(detector: &Detector, signals: &ArrayView2<'_, f64>) -> Result<()> {
    if signals.ncols() != detector.n_samples() {
        return Err(Error::ShapeMismatch {
            argument: "signal",
            axis: "sample",
            expected: detector.n_samples(),
            got: signals.ncols(),
        });
    }
    if let Some(((series, sample), &value)) = signals.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::NotFinite { argument: "signal", index: format!("{series}, {sample}"), value });
    }
    Ok(())
}

fn check_limits(limits: Limits) -> Result<()> {
    if !(limits.level > 0.0 && limits.level <= 1.0) {
        return Err(Error::OutOfRange {
            argument: "level",
            expected: "above 0, at most 1".into(),
            got: limits.level.to_string(),
        });
    }
    if limits.max_windows == 0 {
        return Err(Error::OutOfRange { argument: "max_windows", expected: "at least 1".into(), got: "0".into() });
    }
    if limits.min_size.is_nan() || limits.min_size < 0.0 {
        return Err(Error::OutOfRange {
            argument: "min_size",
            expected: "0 or above".into(),
            got: limits.min_size.to_string(),
        });
    }
    Ok(())
}
