"""Which tokens end a passage that stood earlier in the same example."""

import numpy as np
from numpy.typing import NDArray


def repeat_lengths(tokens: NDArray[np.int64]) -> NDArray[np.int32]:
    """Length of the longest passage ending at each token that also ends at an earlier place of its example.

    0: the token is new to the example. 1: it stood there, after another token. 2 and more: so did the token before it,
    and a model that looks up what followed that one last time (an induction head) is told this one. The two places may
    overlap, as in a token repeated over and over.

    Parameters
    ----------
    tokens : array (batch, pos)

    Returns
    -------
    array (batch, pos)
        int32.

    Examples
    --------
    >>> import numpy as np
    >>> repeat_lengths(np.array([[1, 2, 3, 9, 1, 2, 3, 7]]))
    array([[0, 0, 0, 0, 1, 2, 3, 0]], dtype=int32)
    """
    batch, context = tokens.shape
    longest = np.zeros((batch, context), np.int32)
    # ending[j]: length of the longest passage that ends both here and at j.
    ending = np.zeros((batch, context + 1), np.int32)
    for pos in range(1, context):
        # From the passages that ended one token before, all at once.
        same = tokens[:, :pos] == tokens[:, pos : pos + 1]
        ending[:, 1 : pos + 1] = np.where(same, ending[:, :pos] + 1, 0)
        longest[:, pos] = ending[:, 1 : pos + 1].max(axis=1)
    return longest
