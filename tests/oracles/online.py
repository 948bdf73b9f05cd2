"""Online detection the slow way: every segmentation of the samples so far, each segment's evidence from its definition."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from scipy import integrate, stats
from scipy.special import betaln, gammaln


def log_evidence(observation, prior, x, y, before=None):
    """Log probability of one whole segment: the prior integrated over its parameters in closed form.

    ``before`` is the sample before the segment, if there is one.
    """
    y = np.asarray(y, float)
    n = len(y)
    if observation in ("normal", "linear", "autoregressive"):
        # A multivariate Student t: the parameters integrated out of normal samples (Murphy 2007, eq. 8.41 and on).
        previous = np.r_[prior["mean"] if before is None else before, y[:-1]] - prior["mean"]
        columns = {
            "normal": [np.ones(n)],
            "linear": [np.ones(n), np.asarray(x) - x[0]],
            "autoregressive": [np.ones(n), previous],
        }[observation]
        precision = [prior["kappa"]] if observation == "normal" else [prior["kappa"], prior["slope_kappa"]]
        design = np.stack(columns, axis=1)
        shape = np.eye(n) + design @ np.diag(1 / np.array(precision)) @ design.T
        if observation == "autoregressive":  # the samples of the design are those explained: one at a time
            return sum(line_predictives(y, previous, prior))
        scale = prior["beta"] / prior["alpha"] * shape
        return stats.multivariate_t.logpdf(y, np.full(n, prior["mean"]), scale, df=2 * prior["alpha"])
    if observation == "student":
        return _weighted(y, prior)
    if observation == "level":
        covariance = prior["noise_variance"] * np.eye(n) + prior["variance"]
        return stats.multivariate_normal.logpdf(y, np.full(n, prior["mean"]), covariance)
    alpha, beta = prior["alpha"], prior["beta"]
    if observation == "poisson":
        total = y.sum()
        return (
            alpha * np.log(beta) - gammaln(alpha) + gammaln(alpha + total)
            - (alpha + total) * np.log(beta + n) - gammaln(y + 1).sum()
        )  # fmt: skip
    return betaln(alpha + y.sum(), beta + n - y.sum()) - betaln(alpha, beta)


def line_predictives(y, regressor, prior):
    """Log density of each sample given those before it, of a line in the regressor: normal equations in exact fractions."""
    kappa, slope_kappa, mean, alpha, beta = (
        Fraction(float(prior[name])) for name in ("kappa", "slope_kappa", "mean", "alpha", "beta")
    )
    p, q, r, u, v = kappa, Fraction(0), slope_kappa, kappa * mean, Fraction(0)
    for x, value in zip(map(Fraction, map(float, regressor)), map(Fraction, map(float, y)), strict=True):
        determinant = p * r - q * q
        level, slope = (r * u - q * v) / determinant, (p * v - q * u) / determinant
        spread = 1 + (r - 2 * q * x + p * x * x) / determinant
        square = (value - level - slope * x) ** 2 / spread / 2
        a = float(alpha)
        yield (
            math.lgamma(a + 0.5) - math.lgamma(a) - 0.5 * math.log(2 * math.pi)
            - 0.5 * _log(beta * spread) - (a + 0.5) * _log1p(square / beta)
        )  # fmt: skip
        alpha, beta = alpha + Fraction(1, 2), beta + square
        p, q, r, u, v = p + 1, q + x, r + x * x, u + value, v + x * value


def _log(number):
    return math.log(number.numerator) - math.log(number.denominator)


def _log1p(number):
    return math.log1p(number) if number < 1 else _log(1 + number)


def line_start_posterior(observation, prior, x, y, expected_length):
    """Probability of every start of the last segment, and the log evidence: the recursion over exact predictives."""
    n, hazard = len(y), 1 / expected_length
    before = np.r_[prior["mean"], y[:-1]]
    predictives = []
    for start in range(n):
        since = x[start:] - x[start] if observation == "linear" else before[start:] - prior["mean"]
        predictives.append([*[np.nan] * start, *line_predictives(y[start:], since, prior)])
    logs = np.full(n, -np.inf)
    for sample in range(n):
        ended = np.logaddexp.reduce(logs[:sample]) + np.log(hazard) if sample else 0.0
        logs[:sample] += np.log1p(-hazard) + np.array([predictives[start][sample] for start in range(sample)])
        logs[sample] = ended + predictives[sample][sample]
    evidence = np.logaddexp.reduce(logs)
    return np.exp(logs - evidence), evidence


def _weighted(y, prior):
    """Student's t: each sample as a normal one that counts as much as those so far make it, their moments anew."""
    log, weights = 0.0, np.zeros(0)
    for k in range(len(y)):
        alpha = prior["alpha"] + k / 2
        weight = np.r_[prior["kappa"], weights]
        seen = np.r_[prior["mean"], y[:k]]
        mean = weight @ seen / weight.sum()
        beta = prior["beta"] + 0.5 * weight @ (seen - mean) ** 2
        scale = np.sqrt(beta / alpha * (1 + 1 / weight.sum()))
        log += stats.t.logpdf(y[k], prior["freedom"], mean, scale)
        standardised = (y[k] - mean) / scale
        weights = np.r_[weights, (prior["freedom"] + 1) / (prior["freedom"] + standardised**2)]
    return log


def student_evidence_by_quadrature(prior, y):
    """What ``"student"`` comes close to: the likelihood of t samples integrated over location and squared scale."""

    def integrand(level, log_variance):
        variance = np.exp(log_variance)
        density = stats.invgamma.pdf(variance, prior["alpha"], scale=prior["beta"]) * variance
        density = density * stats.norm.pdf(level, prior["mean"], np.sqrt(variance / prior["kappa"]))
        return density * np.prod(
            [stats.t.pdf(value, prior["freedom"], level, np.sqrt(variance)) for value in y], axis=0
        )

    levels, logs = np.linspace(-40, 40, 2001), np.linspace(-7, 7, 281)
    values = integrand(levels[:, None], logs[None])
    return np.log(values.sum() * (levels[1] - levels[0]) * (logs[1] - logs[0]))


def start_posterior(observation, prior, x, y, expected_length, min_size=1):
    """Probability of every start of the last segment, and the log evidence, by summing over all segmentations."""
    n, hazard = len(y), 1 / expected_length
    weights = np.full(n, -np.inf)
    for choice in range(2 ** (n - 1)):
        cuts = [k + 1 for k in range(n - 1) if choice >> k & 1]
        if any(b - a < min_size for a, b in pairwise([0, *cuts])):
            continue
        log = len(cuts) * np.log(hazard)
        for a, b in pairwise([0, *cuts, n]):
            # Each sample from the one after the shortest segment on might have begun a new one.
            log += max(b - a - min_size, 0) * np.log1p(-hazard)
            log += log_evidence(observation, prior, x[a:b], y[a:b], y[a - 1] if a else None)
        last = cuts[-1] if cuts else 0
        weights[last] = np.logaddexp(weights[last], log)
    evidence = np.logaddexp.reduce(weights)
    return np.exp(weights - evidence), evidence


def poisson_evidence_by_quadrature(alpha, beta, y):
    """The same integral, numerically."""

    def integrand(rate):
        return stats.poisson.pmf(y, rate).prod() * stats.gamma.pdf(rate, alpha, scale=1 / beta)

    return np.log(integrate.quad(integrand, 0, 60, limit=200)[0])
