"""Where else a changepoint may lie, the slow way: every place's cost from its definition, then the cut."""

import numpy as np


def segment_cost(cost, x, y, start, end, mean=0.0):
    """Of one feature."""
    part = y[start:end]
    count = len(part)
    if cost == "l2":
        return ((part - part.mean()) ** 2).sum()
    if cost == "l1":
        return np.abs(part - np.median(part)).sum()
    if cost == "normal":
        return count * np.log(part.var())
    if cost == "variance":
        return count * np.log(((part - mean) ** 2).mean())
    if cost == "poisson":
        total = part.sum()
        return 2 * (total - total * np.log(total / count)) if total else 0.0
    if cost == "linear":
        columns = np.stack([np.ones(count), x[start:end]], axis=1)
    else:  # ar of order 1; the first sample of all is predicted by nothing
        rows = np.arange(max(start, 1), end)
        columns, part = np.stack([np.ones(len(rows)), y[rows - 1]], axis=1), y[rows]
    return ((part - columns @ np.linalg.lstsq(columns, part, rcond=None)[0]) ** 2).sum()


def kinked_cost(x, y, kink):
    columns = np.stack([np.ones(len(y)), x, np.maximum(x - x[kink], 0)], axis=1)
    return ((y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]) ** 2).sum()


def place(cost, x, y, best, min_size, level):
    """First and last place of the only changepoint of a signal of one feature."""
    n = len(y)
    places = np.arange(min_size, n - min_size + 1)
    if cost == "clinear":
        costs = np.array([kinked_cost(x, y, min(k, n - 1)) for k in places])
    else:
        costs = np.array([sum(segment_cost(cost, x, y, *part, y.mean()) for part in ((0, k), (k, n))) for k in places])
    above = costs - costs.min()
    if cost in ("normal", "variance", "poisson"):
        deviances = above
    elif cost == "l1":
        levels = np.median(y[:best]), np.median(y[best:])
        steps = [np.abs(y[:best] - levels[1]) - np.abs(y[:best] - levels[0])]
        steps += [np.abs(y[best:] - levels[0]) - np.abs(y[best:] - levels[1])]
        variance = sum(((side - side.mean()) ** 2).sum() for side in steps) / n
        scale = 4 * np.concatenate(steps).mean() / variance
        deviances = np.minimum(2 * n * np.log(costs / costs.min()), n * np.log1p(scale * above / n))
    else:
        count = n - (0 if cost == "l2" else 2)
        deviances = count * np.log(costs / costs.min())
    inside = places[deviances <= -2 * np.log(1 - np.sqrt(level))]
    return min(best, inside[0]), max(best, inside[-1])
