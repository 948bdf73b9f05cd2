"""Ablations: hand-computed, beside edited weights and frozen patterns, and the laws they obey."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.ablation import copying_scores as slow_copying_scores
from oracles.ablation import without_head_by_weights, without_head_given_patterns
from phaseflow.exceptions import ShapeError
from phaseflow.training import ModelConfig, Transformer
from phaseflow.training.ablation import ablate_every_head, copying_scores, logits_without


def model_of(seed: int = 0, **config: object) -> Transformer:
    torch.manual_seed(seed)
    small = {"n_vocab": 11, "context": 9, "n_layers": 2, "n_heads": 2, "d_model": 8, "init_scale": 2.0}
    model = Transformer(ModelConfig(**(small | config))).double()
    for layer in model.attention:
        if hasattr(layer, "b_distance"):
            torch.nn.init.normal_(layer.b_distance, std=0.1)
    return model


def tokens_of(model: Transformer, batch: int = 3, n_pos: int = 7) -> torch.Tensor:
    return torch.randint(model.config.n_vocab, (batch, n_pos), generator=torch.Generator().manual_seed(1))


def keeping(model: Transformer, *lacking: tuple[int, int]) -> torch.Tensor:
    """One variant without these heads, (1, layer, head)."""
    keep = torch.ones(1, model.config.n_layers, model.config.n_heads, dtype=torch.bool)
    for layer, head in lacking:
        keep[0, layer, head] = False
    return keep


configs = st.fixed_dictionaries(
    {
        "n_layers": st.integers(1, 3),
        "n_heads": st.sampled_from([1, 2]),
        "d_mlp": st.sampled_from([None, 5]),
        "positions": st.sampled_from(["press", "rotary", "learned", "relative"]),
        "layer_norm": st.booleans(),
        "seed": st.integers(0, 99),
    }
)


@pytest.mark.parametrize("preserve_patterns", [False, True])
def test_a_one_layer_model_without_its_heads_is_the_direct_path(preserve_patterns: bool) -> None:
    model = model_of(n_layers=1, layer_norm=False)
    tokens = tokens_of(model)
    found = logits_without(model, tokens, keeping(model, (0, 0), (0, 1)), preserve_patterns=preserve_patterns)
    torch.testing.assert_close(found[0], (model.W_E @ model.W_U)[tokens].detach())


@pytest.mark.parametrize("preserve_patterns", [False, True])
def test_a_head_that_writes_nothing_is_not_missed(preserve_patterns: bool) -> None:
    model = model_of()
    with torch.no_grad():
        model.attention[0].W_O[1] = 0
    found = ablate_every_head(model, tokens_of(model), preserve_patterns=preserve_patterns)
    torch.testing.assert_close(found.without[0, 1], found.whole, rtol=0, atol=1e-12)
    assert (found.without[0, 0] - found.whole).abs().max() > 1e-3


@given(configs)
@settings(max_examples=20)
def test_full_ablations_are_those_of_a_copy_with_the_heads_output_weights_at_zero(config: dict) -> None:
    model = model_of(**config)
    tokens = tokens_of(model)
    found = ablate_every_head(model, tokens, preserve_patterns=False)
    torch.testing.assert_close(found.whole, losses(model(tokens[:, :-1]).detach(), tokens))
    for layer, head in np.ndindex(model.config.n_layers, model.config.n_heads):
        expected = losses(without_head_by_weights(model, tokens[:, :-1], layer, head), tokens)
        torch.testing.assert_close(found.without[layer, head], expected)


@given(configs)
@settings(max_examples=20)
def test_pattern_preserving_ablations_are_those_of_a_forward_pass_given_the_patterns(config: dict) -> None:
    model = model_of(**config)
    tokens = tokens_of(model)
    found = ablate_every_head(model, tokens, preserve_patterns=True)
    for layer, head in np.ndindex(model.config.n_layers, model.config.n_heads):
        expected = losses(without_head_given_patterns(model, tokens[:, :-1], layer, head), tokens)
        # The tolerance is that of the position tables, which are float32.
        torch.testing.assert_close(found.without[layer, head], expected, rtol=1e-5, atol=1e-6)


def losses(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Of predicting each token from those before, one by one."""
    found = torch.empty(len(tokens), tokens.shape[1] - 1, dtype=logits.dtype)
    for example, pos in np.ndindex(*found.shape):
        found[example, pos] = -torch.log_softmax(logits[example, pos], -1)[tokens[example, pos + 1]]
    return found


def test_without_a_head_of_the_last_layer_both_ablations_are_the_same_and_of_an_earlier_one_they_differ() -> None:
    model = model_of(n_layers=3)
    tokens = tokens_of(model)
    full, preserving = (ablate_every_head(model, tokens, preserve_patterns=each) for each in (False, True))
    torch.testing.assert_close(full.without[2], preserving.without[2])
    assert (full.without[0] - preserving.without[0]).abs().amax((1, 2)).min() > 1e-4


def test_several_variants_at_once_are_each_alone_whatever_their_order() -> None:
    model = model_of(n_layers=3, d_mlp=5)
    tokens = tokens_of(model)
    keep = torch.cat([keeping(model, *heads) for heads in ([(2, 0)], [], [(0, 1), (2, 1)], [(1, 0)], [(0, 0)])])
    together = logits_without(model, tokens, keep, preserve_patterns=False)
    for variant, alone in enumerate(keep):
        expected = logits_without(model, tokens, alone[None], preserve_patterns=False)[0]
        torch.testing.assert_close(together[variant], expected)
    torch.testing.assert_close(together[1], model(tokens).detach())


def test_examples_do_not_meet() -> None:
    model = model_of()
    tokens = tokens_of(model, batch=40)
    whole = ablate_every_head(model, tokens, preserve_patterns=False)
    part = ablate_every_head(model, tokens[33:35], preserve_patterns=False)
    torch.testing.assert_close(whole.without[:, :, 33:35], part.without)


@settings(deadline=None, max_examples=25)
@given(configs)
def test_copying_scores_are_those_of_each_heads_own_output(config: dict[str, object]) -> None:
    model = model_of(**config, n_vocab=20)
    tokens = torch.stack([torch.randperm(20, generator=torch.Generator().manual_seed(seed))[:6] for seed in range(3)])
    found = copying_scores(model, tokens)
    assert found.shape == (model.config.n_layers, model.config.n_heads)
    np.testing.assert_allclose(found, slow_copying_scores(model, tokens), rtol=1e-6)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_head_of_the_second_layer_that_copies_what_the_first_moved_scores_one(layer_norm: bool) -> None:
    # The first layer moves each token to directions that no logit reads; the second moves it from there to its logit.
    model = model_of(n_layers=2, n_heads=1, d_model=32, n_vocab=8, layer_norm=layer_norm)
    token, moved, identity = slice(0, 8), slice(8, 16), torch.eye(8)
    first, second = model.attention
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        # LayerNorm takes the mean off: pairs of opposite entries have none.
        model.W_E[:, token], model.W_E[:, 16:24] = identity, -identity
        model.W_U[token] = identity
        first.b_distance[0, 0] = 10.0  # to itself
        first.W_V[0, token, token] = identity
        first.W_O[0, token, moved], first.W_O[0, token, 24:32] = identity, -identity
        second.W_V[0, moved, token] = identity
        second.W_O[0, token, token] = identity
    scores = copying_scores(model, torch.tensor([[3, 1, 4, 0], [7, 2, 6, 5]]))
    assert np.isnan(scores[0, 0])  # raises no logit
    assert scores[1, 0] == pytest.approx(1.0)
    with torch.no_grad():
        second.W_O.neg_()
    assert copying_scores(model, torch.tensor([[3, 1, 4, 0]]))[1, 0] == pytest.approx(-1.0)


def test_a_head_that_moves_tokens_as_they_are_copies() -> None:
    model = model_of(n_layers=1, n_heads=1, n_vocab=8, layer_norm=False)
    with torch.no_grad():
        for weight in (model.W_E, model.W_U, model.attention[0].W_V[0], model.attention[0].W_O[0]):
            weight.copy_(torch.eye(8))
    assert copying_scores(model, torch.tensor([[3, 1, 4, 0]])) == pytest.approx(1.0)


def test_variants_of_another_model_are_refused() -> None:
    model = model_of()
    with pytest.raises(ShapeError, match=r"keep has shape \(1, 3, 2\), expected .* = \(any, 2, 2\)"):
        logits_without(model, tokens_of(model), keeping(model_of(n_layers=3)), preserve_patterns=False)
