"""Detection the slow way: every covariance written out as a matrix, every window fitted by itself."""

from itertools import pairwise

import numpy as np

RHOS = (-0.3, -0.15, 0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 0.96)
TAUS = (0.0, *(10.0 ** (exponent / 2) for exponent in range(-2, 13)))


def decay_columns(x, axis=np.log10):
    """Free columns and relaxations of the base "decay"; ``axis`` makes the model's u of x."""
    x = np.asarray(x, float)
    u = axis(x)
    u = (2 * u - u[0] - u[-1]) / (u[-1] - u[0])
    bends = [np.maximum(x / x[-1] - begin, 0) ** 2 for begin in (0.7, 0.85)]
    free = np.stack([np.ones_like(x), u, x**-0.25, x**-0.5, *bends], axis=1)
    slowest, fastest = -3 - np.log(x[-1]), 2 - np.log(x[0])
    rates = np.exp(slowest + 0.5 * np.arange(int(np.ceil((fastest - slowest) / 0.5)) + 1))
    relaxations = np.sqrt(0.5) * np.exp(-rates[None, :] * x[:, None])
    return free, relaxations - free @ np.linalg.lstsq(free, relaxations, rcond=None)[0]


class RestrictedLikelihood:
    """Restricted log-likelihoods of a curve under AR(1) noise and random relaxations, over a grid of both."""

    def __init__(self, x, deviations=1.0, axis=np.log10):
        free, relaxations = decay_columns(x, axis)
        n = len(free)
        deviations = np.broadcast_to(deviations, n)
        # An orthonormal basis of what the free columns leave: restricted likelihood is the likelihood of these contrasts.
        # Where the last checkpoint alone is late, both bends are the same column.
        directions, sizes, _ = np.linalg.svd(free, full_matrices=True)
        self.contrasts = directions[:, (sizes > 1e-12 * sizes[0]).sum() :]
        lags = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        self.whiteners, self.scales = [], []
        for rho in RHOS:
            for tau in TAUS:
                covariance = np.outer(deviations, deviations) * rho**lags + tau**2 * relaxations @ relaxations.T
                restricted = self.contrasts.T @ covariance @ self.contrasts
                values, vectors = np.linalg.eigh(restricted)
                self.whiteners.append((vectors / np.sqrt(values)).T @ self.contrasts.T)
                self.scales.append(-0.5 * np.log(values).sum())

    def table(self, curve, *columns):
        """(rho, tau), with ``columns`` as further free columns."""
        values = []
        for whitener, scale in zip(self.whiteners, self.scales, strict=True):
            rest = whitener @ curve
            if columns:
                design = whitener @ np.stack(columns, axis=1)
                rest = rest - design @ np.linalg.lstsq(design, rest, rcond=None)[0]
            values.append(scale - 0.5 * len(rest) * np.log(rest @ rest))
        return np.reshape(values, (len(RHOS), len(TAUS)))


def window_statistic(x, curve, start, end, likelihood=None):
    """Twice the gain in log-likelihood of a ramp from checkpoint ``start`` to checkpoint ``end``.

    Both at relaxations one step larger than is likeliest without the ramp; for a ramp of at most 0.35 decades also both
    at their own likeliest size, whichever gains more.
    """
    likelihood = likelihood or RestrictedLikelihood(x)
    u = np.log10(np.asarray(x, float))
    ramp = np.clip((u - u[start]) / (u[end] - u[start]), 0, 1)
    without, beside = likelihood.table(curve), likelihood.table(curve, ramp)
    tau = min(np.unravel_index(without.argmax(), without.shape)[1] + 1, len(TAUS) - 1)
    gain = beside[:, tau].max() - without[:, tau].max()
    narrow = u[end] - u[start] <= 0.35 + 1e-9
    return 2 * (max(gain, beside.max() - without.max()) if narrow else gain)


def benjamini_hochberg(p_values, rate):
    """Which hypotheses are rejected, by the definition: the largest k with p_(k) <= k rate / m."""
    order = np.argsort(p_values)
    k = max((i + 1 for i, which in enumerate(order) if p_values[which] <= (i + 1) * rate / len(order)), default=0)
    rejected = np.zeros(len(order), bool)
    rejected[order[:k]] = True
    return rejected


def storey(p_values, rate):
    """Benjamini and Hochberg at the rate over the estimated share of true nulls, none above 1/2 (Storey et al. 2004)."""
    m = len(p_values)
    share = min(1, (1 + (p_values > 0.5).sum()) / (m / 2)) if m else 1
    k = max((i + 1 for i, p in enumerate(sorted(p_values)) if p <= 0.5 and p * share * m / (i + 1) <= rate), default=0)
    return p_values <= (sorted(p_values)[k - 1] if k else -1)


def as_seen(name, signal):
    """The signal as the cost l2 sees it: ranks in uncorrelated coordinates, or directions."""
    y = np.asarray(signal, float).reshape(len(signal), -1)
    if name == "rank":
        ranks = np.stack([[np.mean(np.flatnonzero(np.sort(column) == v)) for v in column] for column in y.T], axis=1)
        centred = ranks - ranks.mean(0)
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(centred.T)) if len(y) > 1 else np.zeros((1, 1)))
        return centred @ vectors @ np.diag([1 / np.sqrt(v) if v > 1e-9 else 0.0 for v in values])
    return y / np.linalg.norm(y, axis=1, keepdims=True)


def clipped(y, clip):
    """The least sum of squared distances, none above ``clip`` squared: the best level is the mean of some neighbours."""
    ordered = np.sort(y)
    levels = [ordered[i:j].mean() for i in range(len(y)) for j in range(i + 1, len(y) + 1)]
    return min(np.minimum((y - level) ** 2, clip**2).sum() for level in levels)


def autoregressive_cost(y, start, end, order):
    """Residual sum of squares of a regression on the samples before; the first ``order`` have too few and count nothing."""
    rows = range(max(start, order), end)
    if len(rows) <= order + 1:
        return 0.0
    design = np.array([[1.0, *y[i - order : i]] for i in rows])
    target = np.array([y[i] for i in rows])
    return float(((target - design @ np.linalg.lstsq(design, target, rcond=None)[0]) ** 2).sum())


def segment_cost(name, x, signal, start, end, noise=1.0, order=4):
    """One segment's cost, from its definition; ``noise`` is the noise variance that the cost was given."""
    if name == "ar":
        columns = np.asarray(signal, float).reshape(len(signal), -1).T
        return sum(autoregressive_cost(column, start, end, order) for column in columns)
    if name in ("rank", "cosine"):
        return segment_cost("l2", x, as_seen(name, signal), start, end)
    y = np.asarray(signal, float).reshape(len(signal), -1)
    part = y[start:end]
    if name == "l1":
        return float(np.abs(part - np.median(part, axis=0)).sum())
    if name == "biweight":
        return float(clipped(part[:, 0], 3 * np.sqrt(noise)))
    if name == "normal":
        covariance = np.atleast_2d(np.cov(part.T, bias=True)) + 1e-6 * noise * np.eye(y.shape[1])
        return float(len(part) * np.linalg.slogdet(covariance)[1])
    if name == "variance":
        apart = part - y.mean(0)
        scatter = apart.T @ apart / len(part) + 1e-6 * noise * np.eye(y.shape[1])
        return float(len(part) * np.linalg.slogdet(scatter)[1])
    if name == "poisson":
        total = part.sum(0)
        return float(sum(2 * (s - s * np.log(s / len(part))) for s in total if s > 0))
    if name == "rbf":
        squares = ((y[:, None] - y[None]) ** 2).sum(-1)
        median = np.median(squares[np.triu_indices(len(y), 1)]) if len(y) > 1 else 0
        kernel = np.exp(-squares / (median or 1))[start:end, start:end]
        return float(len(part) - kernel.sum() / len(part))
    columns = [np.ones(end - start)] + ([np.asarray(x[start:end], float)] if name == "linear" else [])
    design = np.stack(columns, axis=1)
    return float(((part - design @ np.linalg.lstsq(design, part, rcond=None)[0]) ** 2).sum())


def continuous_cost(x, signal, kinks):
    """Residual sum of squares of the best continuous curve of lines with these kinks."""
    x = np.asarray(x, float)
    design = np.stack([np.ones_like(x), x, *(np.maximum(x - x[kink], 0) for kink in kinks)], axis=1)
    return float(((signal - design @ np.linalg.lstsq(design, signal, rcond=None)[0]) ** 2).sum())


def all_segmentations(n_samples, min_size=1, jump=1, kinks=False):
    """Every allowed tuple of changepoints; ``kinks`` leaves out the last sample, where a kink changes nothing."""
    places = list(range(jump, n_samples - int(kinks), jump))

    def grow(found, rest):
        if n_samples - (found[-1] if found else 0) >= min_size:
            yield tuple(found)
        for index, place in enumerate(rest):
            if place - (found[-1] if found else 0) >= min_size:
                yield from grow([*found, place], rest[index + 1 :])

    return grow([], places)


def total_cost(name, x, signal, changepoints, noise=1.0, order=4):
    """Sum of segment costs."""
    if name == "clinear":
        return continuous_cost(x, signal, changepoints)
    bounds = [0, *changepoints, len(signal)]
    return sum(segment_cost(name, x, signal, a, b, noise, order) for a, b in pairwise(bounds))


def binary_segmentation(cost, n_samples, penalty, min_size=1, jump=1):
    """Cut where it gains most while that is more than the penalty; ``cost`` of (start, end)."""
    found = []
    while True:
        gains = [(0.0, None)]
        for start, end in pairwise([0, *sorted(found), n_samples]):
            places = [k for k in range(0, end, jump) if k - start >= min_size and end - k >= min_size]
            gains += [(cost(start, end) - cost(start, k) - cost(k, end), k) for k in places]
        gain, place = max(gains, key=lambda entry: entry[0])
        if place is None or gain <= penalty:
            return sorted(found)
        found.append(place)


def bottom_up(cost, n_samples, penalty, min_size=1, jump=1):
    """Join the neighbours that lose least while that is no more than the penalty."""
    step = int(np.ceil(min_size / jump)) * jump
    return joined(cost, [0, *range(step, n_samples - min_size + 1, step), n_samples], penalty)


def joined(cost, bounds, penalty):
    """Bounds without those that cost no more than the penalty to leave out, the least first."""
    while len(bounds) > 2:
        losses = [cost(a, c) - cost(a, b) - cost(b, c) for a, b, c in zip(bounds, bounds[1:], bounds[2:], strict=False)]
        if min(losses) > penalty:
            break
        del bounds[1 + int(np.argmin(losses))]
    return bounds[1:-1]


def single_change(series, direction="any", min_size=1):
    """(changepoint, before, after) of the change of level that leaves least, or None; NaN is left out."""
    present = np.flatnonzero(~np.isnan(series))
    y = np.asarray(series, float)[present]
    found = []
    for k in range(min_size, len(y) - min_size + 1):
        before, after = y[:k].mean(), y[k:].mean()
        if (direction == "down" and after >= before) or (direction == "up" and after <= before) or after == before:
            continue
        left = ((y[:k] - before) ** 2).sum() + ((y[k:] - after) ** 2).sum()
        found.append((left, present[k], before, after))
    return min(found)[1:] if found else None


def seeded_intervals(n_samples, least):
    """Definition 1 of Kovács et al. 2023 with decay 1 / sqrt(2): layers k = 1, 2, ... of intervals (start, end]."""
    found = []
    k = 1
    while (length := n_samples / 2 ** ((k - 1) / 2)) >= max(least, 2):
        count = 2 * int(np.ceil(2 ** ((k - 1) / 2) - 1e-9)) - 1
        shift = (n_samples - length) / (count - 1) if count > 1 else 0.0
        starts = [i * shift for i in range(count)]
        found += [(int(np.floor(s + 1e-9)), min(n_samples, int(np.ceil(s + length - 1e-9)))) for s in starts]
        k += 1
    return found


def seeded(cost, n_samples, penalty, min_size=1, jump=1, count=None):
    """The best cut of every seeded interval; the narrowest over the penalty first, or those that gain most; then joined."""
    cuts = []
    for start, end in seeded_intervals(n_samples, 2 * min_size):
        places = [k for k in range(0, end, jump) if k - start >= min_size and end - k >= min_size]
        gains = [cost(start, end) - cost(start, k) - cost(k, end) for k in places]
        if places:
            cuts.append((max(gains), places[int(np.argmax(gains))], start, end))
    if count is None:
        cuts = sorted((cut for cut in cuts if cut[0] > penalty), key=lambda cut: (cut[3] - cut[2], -cut[0]))
    else:
        cuts.sort(key=lambda cut: (-cut[0], cut[3] - cut[2]))
    found = []
    for _, place, start, end in cuts:
        if not any(start < other < end for other in found) and len(found) != count:
            found.append(place)
    return sorted(found) if count is not None else joined(cost, [0, *sorted(found), n_samples], penalty)


def isotonic(y, rising):
    """The closest levels that only rise (or only fall), by pooling adjacent violators."""
    sign = 1 if rising else -1
    blocks = []
    for value in sign * np.asarray(y, float):
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            value, size = blocks.pop()
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + value * size) / (blocks[-1][1] + size), blocks[-1][1] + size]
    return sign * np.concatenate([np.full(size, value) for value, size in blocks])


def has_shape(levels, shape):
    """Whether the steps between levels go the ways that the shape names, in this order, each any number of times."""
    steps = np.sign(np.diff(levels))
    turns = [step for index, step in enumerate(steps) if index == 0 or step != steps[index - 1]]
    ways = {"up": [1], "down": [-1], "up-down": [1, -1], "down-up": [-1, 1]}[shape]
    return 0 not in turns and any(turns == ways[start:end] for start in range(3) for end in range(start, 3))
