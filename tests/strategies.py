"""Random inputs as users hold them: the four dtypes, and memory that is not one dense block in row-major order."""

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

DTYPES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32), np.dtype(np.float64)]


@st.composite
def laid_out(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    """``array``'s numbers in a random dtype, axis order in memory, spacing and direction, perhaps read-only."""
    array = array.astype(draw(st.sampled_from(DTYPES)))
    order = draw(st.permutations(range(array.ndim)))
    step = [draw(st.sampled_from([1, 1, 2, -1, -3])) for _ in order]
    room = np.zeros([array.shape[axis] * abs(step[axis]) for axis in order], array.dtype)
    view = room.transpose(np.argsort(order))[tuple(slice(None, None, s) for s in step)]
    view[...] = array
    view.flags.writeable = draw(st.booleans())
    return view


@st.composite
def patterns(
    draw: st.DrawFn, min_batch: int = 0, max_batch: int = 3, max_context: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """A causal pattern of random layout and its tokens, from few enough that they repeat."""
    batch, heads = draw(st.integers(min_batch, max_batch)), draw(st.integers(0, 3))
    context = draw(st.integers(0, max_context))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = rng.random((batch, heads, context, context)) ** 4 * np.tril(np.ones((context, context)))
    weights[rng.random(weights.shape) < 0.2] = 0.0
    pattern = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-9)
    tokens = rng.integers(0, draw(st.integers(1, 6)), (batch, context))
    token_dtype = draw(st.sampled_from([np.int64, np.int32, np.uint8, np.uint64, np.int16]))
    return draw(laid_out(pattern)), tokens.astype(token_dtype)


@st.composite
def losses(draw: st.DrawFn, min_batch: int = 0, min_context: int = 0, max_context: int = 40) -> np.ndarray:
    """Per-token losses of random layout, with none to two leading axes."""
    shape = [draw(st.integers(0, 3)) for _ in range(draw(st.integers(0, 2)))]
    batch = draw(st.integers(min_batch, 40))
    context = draw(st.integers(min_context, max_context))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = rng.choice([0.0, 0.01, 1.0], (context,), p=[0.1, 0.2, 0.7])
    return draw(laid_out(3 + spread * rng.normal(size=(*shape, batch, context))))
