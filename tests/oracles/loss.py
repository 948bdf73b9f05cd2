"""Loss measures straight from their definitions: one column, one resample, one line at a time, in float64."""

import itertools
import math
import statistics

import numpy as np


def leading(per_token_loss):
    """((index of the leading axes), (batch, pos) matrix), in row-major order."""
    losses = np.asarray(per_token_loss).astype(float)
    for index in itertools.product(*map(range, losses.shape[:-2])):
        yield index, losses[index]


def mean_and_error(values):
    """Mean and standard error of a list; NaN where undefined, or where a value is not finite."""
    n = len(values)
    if n == 0 or not all(map(math.isfinite, values)):
        return math.nan, math.nan
    mean = math.fsum(values) / n
    if n == 1:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def position_losses(per_token_loss):
    shape = np.shape(per_token_loss)
    mean, error = np.empty((2, *shape[:-2], shape[-1]))
    for index, losses in leading(per_token_loss):
        for position in range(shape[-1]):
            mean[*index, position], error[*index, position] = mean_and_error(losses[:, position].tolist())
    return mean, error


def around(losses, index, bandwidth):
    """Mean of each example's losses at the tokens within ``bandwidth / 2`` of ``index`` in ln(index)."""
    distance = abs(np.log(np.arange(1, losses.shape[1] + 1) / index))
    return losses[:, distance <= bandwidth / 2].mean(axis=1)


def in_context_learning_score(per_token_loss, early, late, bandwidth=0.0):
    scores = np.empty(np.shape(per_token_loss)[:-2])
    for index, losses in leading(per_token_loss):
        difference = around(losses, late, bandwidth) - around(losses, early, bandwidth)
        scores[index] = mean_and_error(difference.tolist())[0]
    return scores


def splitmix64(state):
    """Endless SplitMix64 outputs after ``state``."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        yield finalizer(state)


def finalizer(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def resample(n, seed, number):
    """Which examples resample ``number`` of ``seed`` draws."""
    start = next(splitmix64(seed))
    stream = splitmix64(finalizer(start ^ number * 0x9E3779B97F4A7C15 % 2**64))
    return [next(stream) * n >> 64 for _ in range(n)]


def in_context_learning_interval(
    per_token_loss, early, late, level, resamples, seed, bandwidth=0.0, method="percentile"
):
    ends = np.empty((*np.shape(per_token_loss)[:-2], 2))
    for index, losses in leading(per_token_loss):
        difference = around(losses, late, bandwidth) - around(losses, early, bandwidth)
        n = len(difference)
        if n < 2 or not np.isfinite(difference).all():
            ends[index] = math.nan
            continue
        drawn = [difference[resample(n, seed, number)] for number in range(resamples)]
        ends[index] = INTERVALS[method](difference, drawn, [(1 - level) / 2, (1 + level) / 2])
    return ends


def percentile(difference, drawn, shares):
    return np.quantile([math.fsum(one) / len(one) for one in drawn], shares)


def bca(difference, drawn, shares):
    normal = statistics.NormalDist()
    mean = math.fsum(difference) / len(difference)
    means = np.array([math.fsum(one) / len(one) for one in drawn])
    below = ((means < mean).sum() + (means == mean).sum() / 2) / len(means)
    bias = normal.inv_cdf(min(max(below, 0.5 / len(means)), 1 - 0.5 / len(means)))
    # Acceleration from the means with one example left out.
    without = np.array([np.delete(difference, at).mean() for at in range(len(difference))])
    off = without.mean() - without
    skew = (off**3).sum() / (6 * (off**2).sum() ** 1.5)
    places = [bias + normal.inv_cdf(share) for share in shares]
    return np.quantile(means, [normal.cdf(bias + z / (1 - skew * z)) for z in places])


def studentized(difference, drawn, shares):
    mean, error = mean_and_error(list(difference))
    each = [mean_and_error(list(one)) for one in drawn]
    low, high = np.quantile([(m - mean) / e for m, e in each], shares)
    return mean - high * error, mean - low * error


INTERVALS = {"percentile": percentile, "bca": bca, "studentized": studentized}


def loss_log_derivative(per_token_loss, bandwidth):
    mean, error = position_losses(per_token_loss)
    slopes = np.empty_like(mean)
    for index in itertools.product(*map(range, mean.shape[:-1])):
        for position in range(mean.shape[-1]):
            slopes[*index, position] = slope_at(position, mean[index], error[index], bandwidth)
    return slopes


def slope_at(position, mean, error, bandwidth):
    x = np.log(np.arange(1, len(mean) + 1))
    near = [j for j in range(len(x)) if abs(x[j] - x[position]) <= bandwidth / 2]
    if len(near) < min(3, len(x)):
        first = min(max(position - 1, 0), max(len(x) - 3, 0))
        near = list(range(first, min(first + 3, len(x))))
    y, se = mean[near], error[near]
    if len(near) < 2 or not np.isfinite(y).all():
        return math.nan
    weight = 1 / se**2 if np.isfinite(se).all() and (se > 0).all() else np.ones(len(near))
    design = np.stack([np.ones(len(near)), x[near] - x[position]], axis=1)
    root = np.sqrt(weight / weight.max())
    return np.linalg.lstsq(design * root[:, None], (y - y[0]) * root, rcond=None)[0][1]


def loss_log_derivative_error(per_token_loss, bandwidth):
    """Each example's own slope with the weights of the mean, and the standard error of their mean."""
    _, error = position_losses(per_token_loss)
    found = np.empty_like(error)
    for index, losses in leading(per_token_loss):
        for position in range(losses.shape[1]):
            slopes = [slope_at(position, example, error[index], bandwidth) for example in losses]
            found[*index, position] = mean_and_error(slopes)[1]
    return found
