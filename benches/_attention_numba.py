"""The peers of the attention bench in numba, tuned by hand: one score, and all scores in one pass over every row.

Half precision goes through a table of all 65,536 values and one of all p log2 p. The logarithms of float32 are a
polynomial on the bits, in loops that LLVM vectorises, as numba's own logarithm is a call for each entry.
"""

from functools import cache

import numba
import numpy as np

LOG2 = np.polynomial.Chebyshev.interpolate(np.log2, 8, domain=[1, 2]).convert(kind=np.polynomial.Polynomial)


@cache
def gather(half):
    """Sums of the entries of every (example, head); of half precision the bits come in, and the table of values."""
    widen = widening(half)

    @numba.njit(parallel=True, fastmath=True)
    def gather(pattern, example, query, key, values):
        sums = np.zeros(pattern.shape[:2])
        starts = np.searchsorted(example, np.arange(pattern.shape[0] + 1))
        for task in numba.prange(sums.size):
            b, h = task // pattern.shape[1], task % pattern.shape[1]
            total = 0.0
            for entry in range(starts[b], starts[b + 1]):
                total += widen(pattern[b, h, query[entry], key[entry]], values)
            sums[b, h] = total
        return sums

    return gather


@cache
def scan(half):
    """Nine sums of every head: matched and nearest of three offsets, previous token, first token, entropy in bits.

    ``keys`` (offset, entry) in the order of the queries, those of a query from ``starts[offset, query]`` on.
    """
    widen = widening(half)
    entropy = table_entropy if half else polynomial_entropy

    @numba.njit(parallel=True, fastmath=True)
    def scan(pattern, bits, starts, keys, values, terms):
        batch, heads, context = pattern.shape[:3]
        sums = np.zeros((batch, heads, 9))
        for task in numba.prange(batch * heads):
            b, h = task // heads, task % heads
            scratch = np.empty(context, np.int32)
            found = np.zeros(9)
            for q in range(context):
                row = pattern[b, h, q]
                for offset in range(3):
                    first, end = starts[offset, b * context + q], starts[offset, b * context + q + 1]
                    total = 0.0
                    for entry in range(first, end):
                        total += widen(row[keys[offset, entry]], values)
                    found[2 * offset] += total
                    if end > first:
                        found[2 * offset + 1] += widen(row[keys[offset, end - 1]], values)
                if q:
                    found[6] += widen(row[q - 1], values)
                    found[7] += widen(row[0], values)
                found[8] += entropy(row, bits[b, h, q], q + 1, scratch, terms)
            sums[b, h] = found
        return sums.sum(0)

    return scan


def widening(half):
    """From an entry as stored to a number."""
    return numba.njit((lambda stored, values: values[stored]) if half else (lambda stored, values: stored))


@numba.njit(fastmath=True)
def table_entropy(row, bits, end, scratch, terms):
    total = np.float32(0)
    for at in range(end):
        total -= terms[bits[at]]
    return total


c0, c1, c2, c3, c4, c5, c6, c7, c8 = LOG2.coef.astype(np.float32)


@numba.njit(fastmath=True)
def polynomial_entropy(row, bits, end, scratch, terms):
    mantissas = scratch.view(np.float32)
    for at in range(end):
        scratch[at] = (bits[at] & np.int32(0x7FFFFF)) | np.int32(0x3F800000)
    total = np.float32(0)
    for at in range(end):
        m = mantissas[at]
        log = c0 + m * (c1 + m * (c2 + m * (c3 + m * (c4 + m * (c5 + m * (c6 + m * (c7 + m * c8)))))))
        total -= row[at] * (log + np.float32((bits[at] >> np.int32(23)) - np.int32(127)))
    return total
