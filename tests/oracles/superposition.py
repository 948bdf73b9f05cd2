"""Feature measures straight from their definitions, one dot product at a time."""

import numpy as np


def features(W):
    """Norm, dimensionality, interference and leverage of the columns of one matrix."""
    W = np.asarray(W).astype(float)
    rows = []
    projection = np.linalg.pinv(W) @ W
    for i, column in enumerate(W.T):
        norm = np.linalg.norm(column)
        if norm == 0:
            rows.append((0.0, 0.0, 0.0, 0.0))
            continue
        shares = [(column / norm @ other) ** 2 for other in W.T]
        rows.append((norm, norm**2 / sum(shares), sum(shares[:i] + shares[i + 1 :]), projection[i, i]))
    return np.array(rows).reshape(-1, 4).T
