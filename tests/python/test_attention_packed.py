"""Packed patterns, the lower triangle alone: the same scores to the bit, and shapes that do not fit are named."""

import numpy as np
import pytest
from hypothesis import given

import phaseflow as pf
from phaseflow.archive import Run
from strategies import patterns


def test_the_triangle_comes_row_after_row():
    pattern = np.arange(18.0).reshape(2, 3, 3)  # [[0 1 2] [3 4 5] [6 7 8]], then 9 more
    assert pf.pack_pattern(pattern).tolist() == [[0, 3, 4, 6, 7, 8], [9, 12, 13, 15, 16, 17]]


def test_an_ideal_induction_head_scores_one_packed_too():
    tokens = [5, 6, 7, 5, 6, 7]
    pattern = np.eye(6)
    pattern[[3, 4, 5]] = np.eye(6)[[1, 2, 3]]
    assert pf.prefix_matching_score(pf.pack_pattern(pattern)[None], tokens).tolist() == [1.0]


@given(patterns(min_batch=1))
def test_packed_and_whole_patterns_score_alike(drawn):
    pattern, tokens = drawn
    packed = pf.pack_pattern(pattern)
    assert pf.head_scores(packed, tokens).equals(pf.head_scores(pattern, tokens), null_equal=True)
    for reduce in ("sum", "mean", "nearest"):
        for offset in (-1, 0, 1):
            options = {"reduce": reduce, "offset": offset, "bos": 0}
            np.testing.assert_array_equal(
                pf.prefix_matching_score(packed, tokens, **options),
                pf.prefix_matching_score(pattern, tokens, **options),
            )
    np.testing.assert_array_equal(
        pf.prefix_matching_score(packed[0], tokens[0]), pf.prefix_matching_score(pattern[0], tokens[0])
    )


def test_strides_of_a_packed_pattern_do_not_matter():
    rng = np.random.default_rng(0)
    packed, tokens = rng.random((3, 4, 55)), rng.integers(0, 5, (3, 10))
    turned = np.asfortranarray(np.repeat(packed, 2, axis=2))[:, :, ::2]
    assert pf.head_scores(turned, tokens).equals(pf.head_scores(packed, tokens))


@pytest.mark.parametrize(
    ("shape", "tokens", "message"),
    [
        ((2, 3, 9), (2, 4), "pattern has 9 along entry .*taken as packed.*, expected 10"),
        ((3, 9), (4,), "pattern has 9 along entry"),
        ((2, 3, 10), (1, 4), "tokens has 1 along batch, expected 2"),
    ],
)
def test_a_number_of_entries_that_is_no_triangle_is_named(shape, tokens, message):
    for measure in (pf.head_scores, pf.prefix_matching_score):
        with pytest.raises(pf.exceptions.ShapeError, match=message):
            measure(np.ones(shape), np.ones(tokens, int))


def test_a_pattern_that_is_not_square_cannot_be_packed():
    with pytest.raises(pf.exceptions.ShapeError, match=r"shape \(2, 3\), expected"):
        pf.pack_pattern(np.ones((2, 3)))


def test_a_recorder_packs_and_the_archives_scores_are_the_same(tmp_path):
    rng = np.random.default_rng(1)
    tokens = rng.integers(1, 5, (2, 8))
    pattern = np.tril(rng.random((2, 3, 8, 8))).astype(np.float16)
    tables = []
    for name, packed in (("whole", False), ("packed", True)):
        with pf.Recorder(tmp_path / name, probes={"text": pf.Probe(tokens)}, packed=packed) as recorder:
            recorder.log(1, attention={"text": [pattern]})
        tables.append(pf.open(tmp_path / name).head_scores().drop("run"))
    assert Run(tmp_path / "packed").tensor(1, "attention/text/L00").shape == (2, 3, 36)
    assert tables[0].equals(tables[1])


def test_a_recorder_takes_what_is_packed_already(tmp_path):
    tokens = np.ones((2, 8), int)
    with pf.Recorder(tmp_path, probes={"text": pf.Probe(tokens)}) as recorder:
        recorder.log(1, attention={"text": [np.ones((2, 3, 36), np.float32)]})
        with pytest.raises(pf.exceptions.ShapeError, match=r"or packed \(2, any, 36\)"):
            recorder.log(2, attention={"text": [np.ones((2, 3, 35), np.float32)]})
