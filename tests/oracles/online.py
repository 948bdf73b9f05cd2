"""Online detection the slow way: every segmentation of the samples so far, each segment's evidence from its definition."""

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
            return _one_by_one(y, design, np.array(precision), prior)
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


def _one_by_one(y, design, precision, prior):
    """Sample after sample, each given those before it: the whole posterior anew every time."""
    log = 0.0
    for k in range(len(y)):
        rows = design[:k]
        scatter = np.diag(precision) + rows.T @ rows
        start = np.array([prior["mean"], 0.0])
        mean = np.linalg.solve(scatter, precision * start + rows.T @ y[:k])
        beta = prior["beta"] + 0.5 * (y[:k] @ y[:k] + start @ (precision * start) - mean @ scatter @ mean)
        alpha = prior["alpha"] + k / 2
        spread = beta / alpha * (1 + design[k] @ np.linalg.solve(scatter, design[k]))
        log += stats.t.logpdf(y[k], 2 * alpha, design[k] @ mean, np.sqrt(spread))
    return log


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
