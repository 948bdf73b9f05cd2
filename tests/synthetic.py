"""Archives with a phase change planted at known steps: what analysis, report and command line are tested on.

``planted_run`` writes what a training run would: the repeated random probe with patterns that move from uniform to
ideal induction inside a window, and losses of fixed text whose late tokens gain in that same window.
"""

from pathlib import Path

import numpy as np

import phaseflow as pf

STEPS = np.unique(np.round(np.geomspace(1, 10_000, 81)).astype(int))
WINDOW = (1000.0, 2000.0)
INDUCTION_HEAD = (1, 2)  # layer, head
N_HEADS = 4
LENGTH = 25


def repeated_tokens(*, n_examples: int = 3, repeats: int = 3, seed: int = 0) -> np.ndarray:
    """A start token 0, then the same random tokens again and again: (batch, pos)."""
    rng = np.random.default_rng(seed)
    once = np.stack([rng.choice(np.arange(1, 500), LENGTH, replace=False) for _ in range(n_examples)])
    return np.concatenate([np.zeros((n_examples, 1), int), np.tile(once, repeats)], axis=1)


def ramp(step: float) -> float:
    """0 before the window, 1 after it, linear in the log of the step inside."""
    start, end = np.log(WINDOW)
    return float(np.clip((np.log(step) - start) / (end - start), 0, 1))


def uniform_pattern(n_positions: int) -> np.ndarray:
    """Every query attends equally to all positions up to its own."""
    lower = np.tril(np.ones((n_positions, n_positions)))
    return lower / lower.sum(axis=1, keepdims=True)


def induction_pattern(n_positions: int) -> np.ndarray:
    """Every query attends to the token after the latest earlier copy of its own; to the start token where there is none."""
    pattern = np.zeros((n_positions, n_positions))
    for query in range(n_positions):
        pattern[query, query - LENGTH + 1 if query > LENGTH else 0] = 1.0
    return pattern


def planted_run(path: Path, *, induction: bool, seed: int = 0, n_examples: int = 64, context: int = 256) -> Path:
    """Writes a run of two layers; with ``induction`` its phase change lies in ``WINDOW``, without there is none."""
    rng = np.random.default_rng(seed)
    tokens = repeated_tokens()
    text = rng.integers(1, 500, (n_examples, context + 1))
    uniform, ideal = uniform_pattern(tokens.shape[1]), induction_pattern(tokens.shape[1])
    index = np.arange(1, context + 1)
    difficulty = rng.normal(0, 0.5, (n_examples, context))
    gain = rng.gamma(4.0, 0.25, (n_examples, 1)) * np.log1p(index / 50)  # what context is worth, more for later tokens
    config = {"model": {"layers": 2, "heads": N_HEADS}, "events": {"end of warm-up": 100}}
    probes = {"repeated": pf.Probe(tokens, bos=0), "text": pf.Probe(text)}
    with pf.Recorder(path, config=config, probes=probes) as recorder:
        for step in STEPS:
            strength = 0.9 * ramp(step) if induction else 0.0
            patterns = []
            for layer in range(2):
                wobble = rng.uniform(0.9, 1.0, (N_HEADS, 1, 1))
                head = np.broadcast_to(uniform, (N_HEADS, *uniform.shape)) * wobble + (1 - wobble) * np.eye(
                    len(uniform)
                )
                if layer == INDUCTION_HEAD[0]:
                    head[INDUCTION_HEAD[1]] = (1 - strength) * head[INDUCTION_HEAD[1]] + strength * ideal
                patterns.append(np.broadcast_to(head, (len(tokens), *head.shape)).astype(np.float16))
            level = 3.0 + 4.0 * step**-0.3
            noise = rng.normal(0, 0.02, (n_examples, context))
            losses = level + difficulty - 0.3 * (ramp(step) if induction else 0.0) * gain + noise
            recorder.log(
                int(step),
                tokens_seen=int(step) * 4096,
                scalars={"train_loss": level},
                attention={"repeated": patterns},
                per_token_loss={"text": losses.astype(np.float32)},
            )
    return path
