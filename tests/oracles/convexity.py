"""Three-block contrasts straight from their definition: dense weights, one matrix product each."""

import numpy as np


def contrasts(x):
    """Weights (contrast, sample): mean of a middle block less the chord between the blocks beside it."""
    n = len(x)
    lengths = sorted({1} | {factor * 2**power for factor in (2, 3) for power in range(12)})
    rows = []
    for length in [length for length in lengths if length + 2 <= n]:
        beside = sorted({max(length // 3, 1), length, 3 * length})
        for middle in range(0, n, max(length // 4, 1)):
            for left in beside:
                for right in beside:
                    start, end = middle - left, middle + length + right
                    if start < 0 or end > n:
                        continue
                    blocks = [range(start, middle), range(middle, middle + length), range(middle + length, end)]
                    at = [np.mean(x[block]) for block in blocks]
                    share = (at[2] - at[1]) / (at[2] - at[0])
                    row = np.zeros(n)
                    for block, weight in zip(blocks, (-share, 1.0, share - 1.0), strict=True):
                        row[block] = weight / len(block)
                    rows.append(row)
    return np.array(rows)
