"""Probes: Olsson's repeated tokens, losses by position, and looking that leaves no trace."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

from phaseflow.exceptions import ParameterError
from phaseflow.metrics import prefix_matching_score
from phaseflow.training.model import ModelConfig, Transformer
from phaseflow.training.probe import CHUNK, ProbeConfig, best_prefix_matching, evaluate, per_token_loss, repeated_tokens

# Token t occurs t + 1 times: the least common are the first, the most common the last.
COUNTED = np.arange(1, 101)
PAPER = ProbeConfig(length_spread=0.0)


def small_model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(ModelConfig(n_vocab=100, context=100, n_heads=2, d_model=8))


def test_the_papers_probe_is_a_start_token_and_four_times_the_same_25() -> None:
    tokens = repeated_tokens(COUNTED, 0, PAPER)
    assert tokens.shape == (10, 101)
    assert (tokens[:, 0] == 0).all()
    passages = tokens[:, 1:].reshape(10, 4, 25)
    assert (passages == passages[:, :1]).all()
    assert all(len(set(row.tolist())) == 25 for row in passages[:, 0])


def test_by_default_each_example_repeats_another_number_of_tokens_around_25_and_fills_the_100() -> None:
    tokens = repeated_tokens(COUNTED, 0, ProbeConfig())
    assert tokens.shape == (10, 101)
    assert (tokens[:, 0] == 0).all()
    lengths = ProbeConfig().lengths().tolist()
    assert lengths == [15, 17, 19, 22, 24, 26, 28, 31, 33, 35]
    for row, length in zip(tokens[:, 1:].tolist(), lengths, strict=True):
        assert len(set(row)) == length
        assert row == (row[:length] * 7)[:100]
    assert ProbeConfig(n_repeated=1).lengths().tolist() == [25]


def test_a_head_that_copies_by_position_looks_like_induction_at_one_length_only_and_is_unmasked() -> None:
    by_position = torch.zeros(1, 1, 101, 101)
    for query in range(101):
        by_position[..., query, max(query - 24, 0)] = 1  # a fixed distance: blind to what it looks at
    found = {
        config: best_prefix_matching([by_position.expand(10, 1, 101, 101)], repeated_tokens(COUNTED, 0, config), bos=0)
        for config in (PAPER, ProbeConfig())
    }
    assert found == {PAPER: 1.0, ProbeConfig(): 0.0}


def test_probes_that_cannot_be_are_refused() -> None:
    for wrong in ({"n_repeated": 0}, {"repeat_length": 0}, {"length_spread": 1.0}, {"length_spread": -0.1}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            ProbeConfig(**wrong)


def test_the_tenth_of_the_vocabulary_at_either_end_is_left_out() -> None:
    tokens = repeated_tokens(COUNTED, 0, ProbeConfig(n_repeated=200))[:, 1:]
    assert (tokens.min(), tokens.max()) == (10, 89)
    with pytest.raises(ParameterError, match="larger n_vocab or a smaller common_share"):
        repeated_tokens(COUNTED, 0, ProbeConfig(common_share=0.45))


def test_column_i_is_the_loss_of_predicting_token_i_plus_one() -> None:
    model = small_model()
    tokens = torch.randint(100, (20, 12))  # more than one chunk
    losses = per_token_loss(model, tokens)
    log_p = model(tokens).log_softmax(-1)
    assert losses.shape == (20, 11)
    for row, column in ((0, 0), (3, 10), (19, 4)):
        assert losses[row, column].item() == pytest.approx(
            -log_p[row, column, tokens[row, column + 1]].item(), abs=1e-5
        )


def test_a_model_that_knows_nothing_loses_ln_of_the_vocabulary_at_every_token() -> None:
    model = small_model()
    torch.nn.init.zeros_(model.W_U)
    torch.testing.assert_close(
        per_token_loss(model, torch.zeros(2, 5, dtype=torch.int64)), torch.full((2, 4), math.log(100))
    )


def test_the_figure_of_the_progress_bar_is_the_best_heads_prefix_matching_score() -> None:
    tokens = repeated_tokens(COUNTED, 0, ProbeConfig())
    patterns = [pattern.detach() for pattern in small_model().patterns(torch.from_numpy(tokens))]
    expected = max(prefix_matching_score(pattern.numpy(), tokens, bos=0).max() for pattern in patterns)
    assert best_prefix_matching(patterns, tokens, bos=0) == pytest.approx(expected, abs=1e-6)


def test_looking_changes_neither_weights_nor_mode_nor_random_state() -> None:
    model = small_model()
    weights = [weight.clone() for weight in model.parameters()]
    state = torch.get_rng_state()
    probe = {"repeated": torch.from_numpy(repeated_tokens(COUNTED, 0, ProbeConfig()))}
    seen = evaluate(model, probe, frozenset({"repeated"}))
    assert [pattern.dtype for pattern in seen.attention["repeated"]] == [torch.float16] * 2
    assert seen.per_token_loss["repeated"].dtype == torch.float32
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_more_examples_than_one_pass_takes_are_looked_at_like_few() -> None:
    model = small_model()
    probe = torch.from_numpy(repeated_tokens(COUNTED, 0, ProbeConfig(n_repeated=CHUNK + 3)))
    seen = evaluate(model, {"repeated": probe}, frozenset({"repeated"}))
    for found, expected in zip(seen.attention["repeated"], model.patterns(probe), strict=True):
        torch.testing.assert_close(found, expected.half(), rtol=0, atol=1e-3)
    losses = evaluate(model, {"repeated": probe}, frozenset()).per_token_loss["repeated"]
    torch.testing.assert_close(seen.per_token_loss["repeated"], losses, rtol=1e-5, atol=1e-5)
