"""The break of one token straight from its definition: dense covariances, one least-squares fit for every ramp."""

import math

import numpy as np

WANDER = (0.0, 0.5, 2.0, 8.0, 32.0, 128.0)
WIDTHS = (0.0, 0.15, 0.3, 0.6)
FLANK = 5


def on_odds_scale(loss):
    return np.log(np.expm1(np.maximum(loss, 0.0)) + 0.001)


def loss_of(y):
    """The inverse of the scale of the odds."""
    return np.log1p(np.maximum(np.exp(y) - 0.001, 0.0))


def ramps(u):
    """(start, end): for each start and width the end that is nearest, with five checkpoints on either side."""
    found = []
    for start in range(FLANK - 1, len(u) - FLANK):
        for width in WIDTHS:
            if u[start] + width > u[-1]:
                continue
            distance = [abs(u[end] - u[start] - width) for end in range(start + 1, len(u))]
            # Of two ends equally near the later one.
            end = start + 1 + max(k for k, far in enumerate(distance) if far == min(distance))
            if end <= len(u) - FLANK and (start, end) not in found:
                found.append((start, end))
    return found


def drawn_in(y, base, noise):
    """What the base leaves, every checkpoint at most four mean distances from the median of up to five around it."""
    n, deviation = len(y), np.sqrt(noise)
    y = y - base @ (base.T @ y)
    reach = [min(at, n - 1 - at, 2) for at in range(n)]
    medians = np.array([np.median(y[at - r : at + r + 1]) for at, r in enumerate(reach)])
    # Tukey's rule: beside the end stands what the line through the two medians next to it foretells there.
    medians[0] = np.median([y[0], medians[1], 3 * medians[1] - 2 * medians[2]])
    medians[-1] = np.median([y[-1], medians[-2], 3 * medians[-2] - 2 * medians[-3]])
    distance = np.abs(y - medians) / deviation
    mean = np.minimum(distance, 3 * distance.mean()).mean()
    return np.clip(y, medians - 4 * mean * deviation, medians + 4 * mean * deviation)


def best_break(y, steps, noise=None):
    """Twice the log likelihood gained, (start, end), height in standard errors, index of the wander."""
    n = len(steps)
    noise = np.ones(n) if noise is None else noise
    u = np.log10(steps)
    relative = steps / steps[0]
    base, _ = np.linalg.qr(np.stack([np.ones(n), u, relative**-0.25, relative**-0.5], axis=1))
    y = drawn_in(y, base, noise)
    smooth, broken, best = math.inf, math.inf, None
    for index, wander in enumerate(WANDER):
        covariance = np.diag(noise) + wander * (np.minimum.outer(u, u) - u[0])
        root = np.linalg.cholesky(covariance)
        white_base, white_y = np.linalg.solve(root, base), np.linalg.solve(root, y)
        constant = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(white_base.T @ white_base)[1]
        without = squares(white_base, white_y)[0]
        smooth = min(smooth, constant + (n - 4) * math.log(without))
        for start, end in ramps(u):
            shape = np.linalg.solve(root, np.clip((u - u[start]) / (u[end] - u[start]), 0, 1))
            design = np.column_stack([white_base, shape])
            with_ramp, height = squares(design, white_y)
            score = constant + (n - 4) * math.log(with_ramp)
            if score < broken:
                error = math.sqrt(with_ramp / (n - 4) / squares(white_base, shape)[0])
                broken, best = score, ((start, end), height / error, index)
    return smooth - broken, *best


def squares(design, y):
    """Sum of squared residuals and the last coefficient of a least-squares fit."""
    coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
    return float(((y - design @ coefficients) ** 2).sum()), coefficients[-1]


def repeat_length(tokens, at):
    """Longest passage ending at ``at`` that also ends earlier."""
    longest = 0
    for end in range(at):
        length = 0
        while end - length >= 0 and tokens[end - length] == tokens[at - length]:
            length += 1
        longest = max(longest, length)
    return longest
