"""Principal components by the singular value decomposition of the whole centred matrix, in float64."""

import numpy as np


def positions_and_shares(losses, components):
    """``(checkpoint, token)``: positions in nats, root mean square over tokens, and shares of the variance."""
    matrix = np.asarray(losses).astype(float).reshape(len(losses), -1)
    matrix = matrix[:, np.isfinite(matrix).all(axis=0)]
    centred = matrix - matrix.mean(axis=0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.where(right.sum(axis=1) < 0, -1.0, 1.0)
    positions = left * values * signs / np.sqrt(matrix.shape[1])
    return positions[:, :components], (values**2 / (values**2).sum())[:components]
