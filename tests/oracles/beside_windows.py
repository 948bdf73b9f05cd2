"""What a curve has beside its windows, and whether a late one is a bend, the slow way: every matrix written out.

y = X b + Z w + e      e of covariance S R S, w of tau² 1, X the free columns and the windows, all of V = S R S + tau² Z Z'
"""

import numpy as np

from oracles.changepoint import RHOS, TAUS, RestrictedLikelihood, decay_columns

BENDS = 0.5 + 0.48 * np.arange(24 * 2**5 + 1) / (24 * 2**5)  # of the run: where a bend may begin


def scaled(curve):
    apart = curve - np.mean(curve)
    return apart / np.abs(apart).max()


def relative(variance):
    """Deviations of geometric mean 1."""
    return np.exp(0.5 * (np.log(variance) - np.log(variance).mean()))


def window(x, shape, start, end, axis=np.log10):
    """A ramp, half a cosine wave, or a logistic curve, in u of slope 1 / (end - start) in the middle."""
    u, start, end = axis(x), axis(start), axis(end)
    from_middle = (u - (start + end) / 2) / (end - start)
    return {
        "ramp": np.clip(0.5 + from_middle, 0, 1),
        "cosine": (1 + np.sin(np.clip(2 * from_middle, -np.pi / 2, np.pi / 2))) / 2,
        "logistic": (1 + np.tanh(2 * from_middle)) / 2,
    }[shape]


def bend(x, begin):
    """From ``begin`` of the run to its end, where it is 1."""
    part = np.asarray(x) / x[-1]
    return np.where(part > begin, (part - begin) ** 2 / (1 - begin) ** 2, 0.0)


def rest_of(y, deviations, free, relaxations, columns, rho, tau):
    """The errors as they are best predicted, made white, each over its own standard deviation; NaN where little is left."""
    n = len(y)
    noise = np.outer(deviations, deviations) * rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    whole = noise + tau**2 * relaxations @ relaxations.T
    whiten = np.linalg.inv(np.linalg.cholesky(whole))
    design = np.column_stack([free, *columns])
    beside = np.eye(n) - design @ np.linalg.pinv(whiten @ design) @ whiten
    predicted = tau**2 * relaxations @ relaxations.T @ whiten.T @ whiten @ beside
    errors = np.linalg.inv(np.linalg.cholesky(noise)) @ (beside - predicted)
    left = np.diag(errors @ whole @ errors.T)
    return np.where(left < 0.3, np.nan, errors @ y / np.sqrt(np.maximum(left, 0.3)))


def rest(x, curve, variance, *columns, likelihood=None, axis=np.log10):
    """Base "decay", at the likeliest noise with relaxations a step larger than that."""
    y, deviations = scaled(curve), relative(variance)
    likelihoods = (likelihood or RestrictedLikelihood(x, deviations, axis)).table(y, *columns)
    rho, tau = np.unravel_index(likelihoods.argmax(), likelihoods.shape)
    return rest_of(y, deviations, *decay_columns(x, axis), columns, RHOS[rho], TAUS[min(tau + 1, len(TAUS) - 1)])


def best_bend(x, curve, likelihood, tau=None):
    """Where it begins, of all places of the lattice, and its log-likelihood; with the given size of relaxations, or any."""
    y = scaled(curve)
    levels = [tau] if tau is not None else range(len(TAUS))
    bends = np.stack([bend(x, begin) for begin in BENDS], axis=1)
    values = np.full(len(BENDS), -np.inf)
    for index in [rho * len(TAUS) + level for rho in range(len(RHOS)) for level in levels]:
        rest, columns = likelihood.whiteners[index] @ y, likelihood.whiteners[index] @ bends
        left = rest @ rest - (rest @ columns) ** 2 / (columns**2).sum(0)
        values = np.maximum(values, likelihood.scales[index] - 0.5 * len(rest) * np.log(left))
    return BENDS[values.argmax()], values.max()


def is_a_bend(x, curve, start, end, likelihood, axis=np.log10):
    """Whether the window from one checkpoint to another may be a bend as well: by how much, and where that begins."""
    y, u = scaled(curve), axis(x)
    without = likelihood.table(y)
    beside = likelihood.table(y, window(x, "ramp", x[start], x[end], axis))
    tau = min(np.unravel_index(without.argmax(), without.shape)[1] + 1, len(TAUS) - 1)
    narrow = axis is np.log10 and u[end] - u[start] <= 0.35 + 1e-9
    any_size = narrow and beside.max() - without.max() > beside[:, tau].max() - without[:, tau].max()
    begin, bent = best_bend(x, curve, likelihood, None if any_size else tau)
    lead = bent + np.log(len(x) / 100) - (beside.max() if any_size else beside[:, tau].max())
    return lead if x[start] >= 0.5 * x[-1] else -np.inf, begin
