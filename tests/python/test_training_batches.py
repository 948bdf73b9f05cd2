"""Batches: a function of seed and step; repeats are copies of a passage of the same sequence."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from hypothesis import given
from hypothesis import strategies as st

from phaseflow.exceptions import MissingDataError, ParameterError
from phaseflow.training.batches import BatchConfig, Batches, repeat_passage
from phaseflow.training.corpus import Corpus
from phaseflow.training.split import Split

# Every token occurs once, so a token that occurs twice in a sequence was copied there.
SPLIT = Split(np.arange(1, 4001, dtype=np.uint16), np.array([0, 1000, 4000]))
UNIQUE = Corpus(4001, train=SPLIT, held_out=SPLIT, vocabulary=None)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    batches = Batches(UNIQUE, BatchConfig(batch_size=3, repeat_share=0.5, repeat_shortest=4), 32, seed=7)
    later = batches[5]
    _ = batches[4]
    assert torch.equal(later, batches[5])
    assert torch.equal(later, Batches(UNIQUE, batches.config, 32, seed=7)[5])
    assert not torch.equal(later, batches[6])
    assert not torch.equal(later, Batches(UNIQUE, batches.config, 32, seed=8)[5])


def test_without_repeats_a_sequence_is_the_start_token_and_a_stretch_of_one_file() -> None:
    batches = Batches(UNIQUE, BatchConfig(batch_size=200), 32, seed=0)[0].numpy()
    assert batches.shape == (200, 33)
    assert (batches[:, 0] == 0).all()
    assert (np.diff(batches[:, 1:], axis=1) == 1).all()
    assert not ((batches[:, 1] <= 1000) & (batches[:, -1] > 1000)).any()


def test_the_stated_share_of_sequences_repeats() -> None:
    config = BatchConfig(batch_size=4000, repeat_share=0.25, repeat_shortest=4)
    batch = Batches(UNIQUE, config, 32, seed=0)[0].numpy()
    repeats = np.array([len(set(row)) < 33 for row in batch.tolist()])
    assert repeats.mean() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5)


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(16, 40))
def test_a_repeated_passage_is_copied_whole_and_without_overlap(seed: int, shortest: int, length: int) -> None:
    before = np.arange(length)
    after = before.copy()
    repeat_passage(after, np.random.default_rng(seed), shortest)
    (changed,) = np.nonzero(after != before)
    assert shortest <= len(changed) <= length // 2
    assert (np.diff(changed) == 1).all()
    source = after[changed]
    assert (np.diff(source) == 1).all()
    assert source[-1] < changed[0]


def test_held_out_examples_are_different_untouched_windows() -> None:
    examples = UNIQUE.draw_held_out(50, 32, seed=3)
    assert examples.shape == (50, 32)
    assert len(set(examples[:, 0].tolist())) == 50
    assert (np.diff(examples, axis=1) == 1).all()
    assert np.array_equal(examples, UNIQUE.draw_held_out(50, 32, seed=3))


def test_what_cannot_be_drawn_says_why() -> None:
    with pytest.raises(MissingDataError, match="no file has 5000 tokens"):
        Batches(UNIQUE, BatchConfig(), 5000, seed=0)[0]
    with pytest.raises(MissingDataError, match="5000 held-out examples"):
        UNIQUE.draw_held_out(5000, 32, seed=0)
    with pytest.raises(ParameterError, match="does not fit into context 32"):
        Batches(UNIQUE, BatchConfig(repeat_share=0.1, repeat_shortest=17), 32, seed=0)
    with pytest.raises(ParameterError, match="repeat_share"):
        BatchConfig(repeat_share=1.5)
