"""Predictors of in-context Markov chains by counting anew at every position, in exact fractions."""

from fractions import Fraction
from itertools import pairwise


def unigram(states, n_states):
    """After each position, the probability of every state, as lists of fractions."""
    return [
        [Fraction(states[: at + 1].count(state) + 1, at + 1 + n_states) for state in range(n_states)]
        for at in range(len(states))
    ]


def bigram(states, n_states):
    found = []
    for at, current in enumerate(states):
        followers = [after for before, after in pairwise(states[: at + 1]) if before == current]
        found.append([Fraction(followers.count(state) + 1, len(followers) + n_states) for state in range(n_states)])
    return found
