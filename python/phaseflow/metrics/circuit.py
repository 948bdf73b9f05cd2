"""What a head's weights say by themselves.

Shapes are TransformerLens', rows multiplying from the left: ``W_E (vocab, d_model)``, ``W_Q W_K W_V (..., d_model,
d_head)``, ``W_O (..., d_head, d_model)``, ``W_U (d_model, vocab)``. A circuit is never multiplied out: everything is
computed on matrices as wide as a head. float16, bfloat16, float32 and float64 of any strides; computed in float64.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np

from phaseflow import _core
from phaseflow.metrics import _inputs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def composition_scores(
    W_Q: "ArrayLike",
    W_K: "ArrayLike",
    W_V: "ArrayLike",
    W_O: "ArrayLike",
    *,
    kind: Literal["Q", "K", "V"] = "K",
    subtract_baseline: bool = False,
    threads: int | None = None,
) -> "NDArray[np.float64]":
    """How much of what a later head reads was written by an earlier one: from 0 to 1, which is all it could be.

    With ``W_OV = W_V W_O`` and ``W_QK = W_Q W_K.T``, for head 1 in an earlier layer than head 2, in Frobenius norm ::

        Q   |W_OV1 W_QK2|   / (|W_OV1| |W_QK2|)
        K   |W_OV1 W_QK2.T| / (|W_OV1| |W_QK2|)
        V   |W_OV1 W_OV2|   / (|W_OV1| |W_OV2|)

    An induction head reads its keys from a previous-token head: high K-composition. Random heads score about
    ``1 / sqrt(d_model)``.

    Parameters
    ----------
    W_Q, W_K, W_V : array (layer, head, d_model, d_head)
    W_O : array (layer, head, d_head, d_model)
    kind : {"K", "Q", "V"}
        Whether the later head takes the earlier one's output into its keys, queries or values.
    subtract_baseline : bool
        Take ``1 / sqrt(d_model)`` off every pair, so that random heads score about 0.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (layer, head, layer, head)
        Earlier head, later head. 0 where the first is not in an earlier layer, baseline or not. NaN for a pair with a
        circuit that is zero or not finite.

    Raises
    ------
    phaseflow.exceptions.ShapeError
        When the weights do not fit each other.
    phaseflow.exceptions.UnknownNameError
        For a ``kind`` there is not.

    References
    ----------
    Elhage et al. 2021, *A Mathematical Framework for Transformer Circuits*.

    Examples
    --------
    Head 0.0 writes to the first half of the stream, head 1.0 reads its keys there, head 1.1 elsewhere.

    >>> import numpy as np, phaseflow as pf
    >>> first, second = np.eye(4)[:, :2], np.eye(4)[:, 2:]
    >>> W_K = np.array([[first, first], [first, second]])
    >>> W_O = np.array([[first.T, first.T], [first.T, first.T]])
    >>> W_Q = W_V = np.array([[first, first], [second, second]])
    >>> pf.composition_scores(W_Q, W_K, W_V, W_O, kind="K")[0, 0, 1].round(6)
    array([0.707107, 0.      ])
    """
    return _core.composition_scores(
        _inputs.tensor("W_Q", W_Q),
        _inputs.tensor("W_K", W_K),
        _inputs.tensor("W_V", W_V),
        _inputs.tensor("W_O", W_O),
        _inputs.name("kind", kind),
        bool(subtract_baseline),
        _inputs.optional_integer("threads", threads, least=1),
    )


def copying_score(
    pattern: "ArrayLike",
    values: "ArrayLike",
    W_O: "ArrayLike",
    W_U: "ArrayLike",
    tokens: "ArrayLike",
    *,
    threads: int | None = None,
) -> "NDArray[np.float64]":
    """Whether what a head moves raises the token it was moved from: from -1 to 1, which raises nothing else.

    A key ``k`` adds ``pattern[q, k] * values[k] @ W_O`` to the stream of a query. Straight to the unembedding, less the
    mean over the vocabulary, that raises token ``u`` by ``r(q, k, u)``, 0 where it lowers it. With ``t`` the token at
    the key, and sums over examples, queries and keys, ::

        ratio = sum r(q, k, t) / ( sum r(q, k, t) + sum over tokens u of the example of r(q, k, u) )
        score = 4 * ratio - 1

    The paper's probe is 25 random tokens, none of them repeated, without a start token.

    Parameters
    ----------
    pattern : array (batch, head, query_pos, key_pos)
        Attention after softmax.
    values : array (batch, head, key_pos, d_head)
        What the heads read at each position: the stream that enters the layer, normalised, times ``W_V``.
    W_O : array (head, d_head, d_model)
    W_U : array (d_model, vocab)
    tokens : integer array (batch, pos)
        A token that stands in an example more than once counts once among its tokens.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (head,)
        -1 raises none of the tokens it was moved from, 1 those alone. A head that raises all of ``n`` tokens alike
        scores ``4 / (n + 1) - 1``. NaN for a head that raises none of them, or with a NaN in what enters.

    Raises
    ------
    phaseflow.exceptions.ShapeError
        When the arrays do not fit each other.
    phaseflow.exceptions.ParameterError
        When a token is not in the vocabulary.

    References
    ----------
    Olsson et al. 2022, *In-context Learning and Induction Heads*, "Head Activation Evaluators".

    Examples
    --------
    A head that moves each of three tokens as it is, and one that moves its opposite.

    >>> import numpy as np, phaseflow as pf
    >>> values, W_O = np.stack([np.eye(3), np.eye(3)])[None], np.stack([np.eye(3), -np.eye(3)])
    >>> pf.copying_score(np.tril(np.ones((1, 2, 3, 3))), values, W_O, np.eye(3), [[0, 1, 2]])
    array([ 1., -1.])
    """
    return _core.copying_score(
        _inputs.tensor("pattern", pattern),
        _inputs.tensor("values", values),
        _inputs.tensor("W_O", W_O),
        _inputs.tensor("W_U", W_U),
        _inputs.token_ids("tokens", tokens),
        _inputs.optional_integer("threads", threads, least=1),
    )


def ov_copying_statistic(
    W_E: "ArrayLike",
    W_V: "ArrayLike",
    W_O: "ArrayLike",
    W_U: "ArrayLike",
    *,
    threads: int | None = None,
) -> "NDArray[np.float64]":
    """Whether a head raises the logits of the tokens it attends to: from -1 (lowers them) to 1 (copies).

    ``sum(λ) / sum(|λ|)`` over the eigenvalues of ``W_E W_V W_O W_U``, the map from attended token to logits; near 0
    for a random head.

    Parameters
    ----------
    W_E : array (vocab, d_model)
        The identity leaves the embedding out.
    W_V : array (..., d_model, d_head)
    W_O : array (..., d_head, d_model)
    W_U : array (d_model, vocab)
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (...)
        One a head. NaN where all eigenvalues are 0 or a weight is not finite.

    Raises
    ------
    phaseflow.exceptions.ShapeError
        When the weights do not fit each other.

    References
    ----------
    Elhage et al. 2021, "Copying heads"; Olsson et al. 2022.

    Examples
    --------
    >>> import numpy as np, phaseflow as pf
    >>> W_V = np.stack([np.eye(4)[:, :2]] * 3)
    >>> W_O = np.stack([np.eye(4)[:2], -np.eye(4)[:2], np.diag([1.0, -1.0, 0.0, 0.0])[:2]])
    >>> pf.ov_copying_statistic(np.eye(4), W_V, W_O, np.eye(4))
    array([ 1., -1.,  0.])
    """
    return _core.ov_copying_statistic(
        _inputs.tensor("W_E", W_E),
        _inputs.tensor("W_V", W_V),
        _inputs.tensor("W_O", W_O),
        _inputs.tensor("W_U", W_U),
        _inputs.optional_integer("threads", threads, least=1),
    )


def ov_eigenvalues(
    W_E: "ArrayLike",
    W_V: "ArrayLike",
    W_O: "ArrayLike",
    W_U: "ArrayLike",
    *,
    threads: int | None = None,
) -> "NDArray[np.complex128]":
    """Eigenvalues of ``W_E W_V W_O W_U``, the map from attended token to logits; positive ones copy.

    Parameters and errors are those of :func:`ov_copying_statistic`.

    Returns
    -------
    array (..., d_head)
        complex128, largest first, a conjugate pair side by side; the rest of the vocabulary's eigenvalues are 0. NaN
        for a head that is not finite.

    Examples
    --------
    >>> import numpy as np, phaseflow as pf
    >>> pf.ov_eigenvalues(np.eye(3), np.eye(3)[:, :2], [[0.0, -2.0, 0.0], [2.0, 0.0, 0.0]], np.eye(3))
    array([0.+2.j, 0.-2.j])
    """
    return _core.ov_eigenvalues(
        _inputs.tensor("W_E", W_E),
        _inputs.tensor("W_V", W_V),
        _inputs.tensor("W_O", W_O),
        _inputs.tensor("W_U", W_U),
        _inputs.optional_integer("threads", threads, least=1),
    )


def factored_eigenvalues(
    left: "ArrayLike", right: "ArrayLike", *, threads: int | None = None
) -> "NDArray[np.complex128]":
    """Eigenvalues of ``left @ right`` without multiplying it out: a QK circuit, say, or an OV circuit by itself.

    They are those of ``right @ left``, which is as small as the factors are narrow, and zeros.

    Parameters
    ----------
    left : array (..., n, rank)
    right : array (..., rank, n)
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (..., rank)
        complex128, largest first, a conjugate pair side by side. NaN where a factor is not finite.

    Raises
    ------
    phaseflow.exceptions.ShapeError
        When the factors do not fit each other.

    Examples
    --------
    >>> import numpy as np, phaseflow as pf
    >>> pf.factored_eigenvalues([[1.0], [2.0], [3.0]], [[1.0, 1.0, 1.0]])
    array([6.+0.j])
    """
    return _core.factored_eigenvalues(
        _inputs.tensor("left", left),
        _inputs.tensor("right", right),
        _inputs.optional_integer("threads", threads, least=1),
    )


def qk_previous_token_term(
    W_E: "ArrayLike",
    W_Q: "ArrayLike",
    W_K: "ArrayLike",
    W_V: "ArrayLike",
    W_O: "ArrayLike",
    previous_token_scores: "ArrayLike",
    *,
    threads: int | None = None,
) -> "NDArray[np.float64]":
    """How much a head looks for its own token behind the previous-token heads below it: high for an induction head.

    For head ``h``, over the heads ``e`` of earlier layers, ::

        sum over e of  previous_token_scores[e] * tr( W_E W_QK[h] (W_E W_OV[e]).T )

    Its scale is that of the weights: compare it along training or between heads of a model, not between models.

    Parameters
    ----------
    W_E : array (vocab, d_model)
    W_Q, W_K, W_V : array (layer, head, d_model, d_head)
    W_O : array (layer, head, d_head, d_model)
    previous_token_scores : array (layer, head)
        Mean attention of each head to the token before: ``previous_token_score`` of :func:`phaseflow.head_scores`.
    threads : int, optional
        Threads to use, all by default; the bits of the result do not depend on it.

    Returns
    -------
    array (layer, head)
        Unbounded, 0 expected of random weights; 0 in the first layer. NaN where a number that enters is.

    Raises
    ------
    phaseflow.exceptions.ShapeError
        When the arrays do not fit each other.

    References
    ----------
    Olsson et al. 2022; Elhage et al. 2021, "Induction heads".

    Examples
    --------
    >>> import numpy as np, phaseflow as pf
    >>> W = np.ones((2, 1, 1, 1))
    >>> pf.qk_previous_token_term(np.full((5, 1), 2.0), W, W, W, W, [[0.5], [0.0]])
    array([[ 0.],
           [10.]])
    """
    return _core.qk_previous_token_term(
        _inputs.tensor("W_E", W_E),
        _inputs.tensor("W_Q", W_Q),
        _inputs.tensor("W_K", W_K),
        _inputs.tensor("W_V", W_V),
        _inputs.tensor("W_O", W_O),
        _inputs.matrix("previous_token_scores", previous_token_scores),
        _inputs.optional_integer("threads", threads, least=1),
    )


def qk_previous_token_traces(
    W_E: "ArrayLike",
    W_Q: "ArrayLike",
    W_K: "ArrayLike",
    W_V: "ArrayLike",
    W_O: "ArrayLike",
    *,
    threads: int | None = None,
) -> "NDArray[np.float64]":
    """The parts of :func:`qk_previous_token_term` that depend on weights alone: ``tr( W_E W_QK[h] (W_E W_OV[e]).T )``.

    Parameters and errors are those of :func:`qk_previous_token_term`.

    Returns
    -------
    array (layer, head, layer, head)
        Earlier head ``e``, later head ``h``; 0 where the first is not in an earlier layer. NaN where a weight is.

    Examples
    --------
    >>> import numpy as np
    >>> from phaseflow.metrics import qk_previous_token_traces
    >>> W = np.ones((2, 1, 1, 1))
    >>> qk_previous_token_traces(np.full((5, 1), 2.0), W, W, W, W)[0, 0, 1, 0]
    np.float64(20.0)
    """
    return _core.qk_previous_token_traces(
        _inputs.tensor("W_E", W_E),
        _inputs.tensor("W_Q", W_Q),
        _inputs.tensor("W_K", W_K),
        _inputs.tensor("W_V", W_V),
        _inputs.tensor("W_O", W_O),
        _inputs.optional_integer("threads", threads, least=1),
    )
