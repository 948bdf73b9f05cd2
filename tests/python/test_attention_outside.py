"""Pattern scores against numbers others published: GPT-2 small, measured with TransformerLens."""

import csv

import numpy as np
import pytest

import phaseflow as pf
from shared_data import shared

FOLDER = "transformerlens_gpt2_heads"


def published(file, **where):
    """{(layer, head): number} from the rows of ``file`` with these columns' values."""
    with shared(FOLDER, file).open() as lines:
        rows = [row for row in csv.DictReader(lines) if all(row[key] == value for key, value in where.items())]
    last = list(rows[0])[-1]
    return {
        (int(row["layer"]), int(row["head"])): float(row[last].removeprefix("np.float64(").rstrip(")")) for row in rows
    }


@pytest.mark.parametrize("layer", [0, 2, 4, 5])
def test_previous_token_scores_of_gpt2_are_met(layer):
    data = np.load(shared(FOLDER, "gpt2-small_attention_prompt_head_detector.npz"))
    pattern, words = data[f"layer{layer}"], data["tokens"]
    tokens = np.unique(words, return_inverse=True)[1]
    table = pf.head_scores(pattern, tokens)
    ours = table.filter(metric="previous_token_score")["value"].to_numpy()
    # The published detector divides the same sum by that of the whole pattern: by n for rows that sum to 1, where the
    # mean over the n - 1 queries that have a previous token divides by n - 1.
    n = len(words)
    theirs = published("head_detector_previous_token_scores.csv", setting="mul")
    np.testing.assert_allclose(ours * (n - 1) / n, [theirs[layer, head] for head in range(12)], rtol=0, atol=1e-4)


def test_the_published_induction_pattern_scores_what_its_diagonal_averages():
    data = np.load(shared(FOLDER, "gpt2-small_L5H5_attention_repeated_random_2x20.npz"))
    pattern, tokens = data["attention"], np.unique(data["tokens"], return_inverse=True)[1]
    score = pf.prefix_matching_score(pattern, tokens)
    diagonal = np.diagonal(pattern[0].astype(float), -19)[1:]  # queries 20..39, each with one target 19 before it
    assert score == pytest.approx([diagonal.mean()], rel=1e-14)
    assert score == pytest.approx([0.8824], abs=1e-4)


@pytest.mark.parametrize("length", ["50", "100"])
def test_that_pattern_stands_with_the_published_induction_heads_and_above_all_others(length):
    table = published("head_scores.csv", model="gpt2-small", score=f"induction_score_seq{length}")
    ranked = sorted(table, key=table.get, reverse=True)
    assert set(ranked[:5]) == {(5, 1), (5, 5), (6, 9), (7, 2), (7, 10)}
    data = np.load(shared(FOLDER, "gpt2-small_L5H5_attention_repeated_random_2x20.npz"))
    scores = pf.head_scores(data["attention"], np.unique(data["tokens"], return_inverse=True)[1])
    score = scores.filter(metric="prefix_matching_score")["value"].item()
    assert score == pytest.approx(table[5, 5], abs=0.06)
    assert score > table[ranked[5]] + 0.3
