"""Models whose weights are set by hand: what a measure says of an ideal circuit, and of one that only looks like it."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

from phaseflow import metrics
from phaseflow.training import ModelConfig, ProbeConfig, Transformer, copying_scores, evaluate, repeated_tokens
from phaseflow.training.probe import best_prefix_matching

VOCABULARY = 60
PAPER, VARIED = ProbeConfig(length_spread=0.0), ProbeConfig()
PROBES = {config: repeated_tokens(np.ones(VOCABULARY, dtype=np.int64), 0, config) for config in (PAPER, VARIED)}


def blank(n_layers: int, d_model: int) -> Transformer:
    """Every weight zero but for the tokens, which are directions of their own and read off as such."""
    model = Transformer(
        ModelConfig(
            n_vocab=VOCABULARY, context=100, n_layers=n_layers, n_heads=1, d_model=d_model, positions="relative",
            layer_norm=False,
        )
    )  # fmt: skip
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.W_E[:, :VOCABULARY] = torch.eye(VOCABULARY)
        model.W_U[:VOCABULARY] = torch.eye(VOCABULARY)
    return model


@pytest.fixture(scope="module")
def induction() -> Transformer:
    """Layer 0 writes each token's predecessor beside it; layer 1 looks for tokens whose predecessor is the current one.

    The stream has three parts: tokens, predecessors, and as much room again that nothing uses.
    """
    model = blank(2, 4 * VOCABULARY)
    token, before = slice(0, VOCABULARY), slice(VOCABULARY, 2 * VOCABULARY)
    identity = torch.eye(VOCABULARY)
    previous, matching = model.attention
    with torch.no_grad():
        previous.b_distance[0, 1] = 10.0
        previous.W_V[0, token, token] = identity
        previous.W_O[0, token, before] = identity
        matching.W_Q[0, token, token] = 100 * identity
        matching.W_K[0, before, token] = 100 * identity
        matching.W_V[0, token, token] = identity
        matching.W_O[0, token, token] = 20 * identity
    return model


def stacked(model: Transformer, name: str) -> np.ndarray:
    return np.stack([getattr(layer, name).detach().numpy() for layer in model.attention])


@pytest.mark.parametrize("config", [PAPER, VARIED], ids=["paper", "varied"])
def test_the_planted_head_scores_one_on_prefix_matching(induction: Transformer, config: ProbeConfig) -> None:
    first, second = (pattern.detach().numpy() for pattern in induction.patterns(torch.from_numpy(PROBES[config])))
    assert metrics.prefix_matching_score(second, PROBES[config], bos=0) == pytest.approx([1.0], abs=1e-6)
    assert metrics.prefix_matching_score(first, PROBES[config], bos=0) == pytest.approx([0.0], abs=1e-6)
    assert first[0, 0, range(1, 101), range(100)] == pytest.approx(np.ones(100), abs=1e-6)


def test_the_planted_head_copies_from_weights_and_from_logits(induction: Transformer) -> None:
    W_V, W_O = stacked(induction, "W_V"), stacked(induction, "W_O")
    W_E, W_U = induction.W_E.detach().numpy(), induction.W_U.detach().numpy()
    assert metrics.ov_copying_statistic(W_E, W_V[1], W_O[1], W_U) == pytest.approx([1.0])
    once = torch.from_numpy(PROBES[PAPER][:, 1:26])
    assert copying_scores(induction, once)[1, 0] == pytest.approx(1.0)


def test_the_planted_circuit_is_composed_by_keys_alone(induction: Transformer) -> None:
    weights = [stacked(induction, name) for name in ("W_Q", "W_K", "W_V", "W_O")]
    scores = {kind: metrics.composition_scores(*weights, kind=kind)[0, 0, 1, 0] for kind in "QKV"}
    # Two products of 60 equal singular values each: |AB| / (|A| |B|) is 1 / sqrt(60), the most such factors can reach.
    assert scores == pytest.approx({"Q": 0, "K": VOCABULARY**-0.5, "V": 0}, abs=1e-6)
    assert scores["K"] == pytest.approx(2 * weights[0].shape[2] ** -0.5)  # twice what random matrices reach


def test_the_planted_model_knows_every_token_that_repeats(induction: Transformer) -> None:
    tokens = torch.from_numpy(PROBES[VARIED])
    losses = evaluate(induction, {"repeated": tokens}, frozenset()).per_token_loss["repeated"]
    for row, length in zip(losses, VARIED.lengths().tolist(), strict=True):
        assert row[length + 1 :].max() < 1e-3
        assert row[: length + 1].min() > 1.0  # nothing tells which token begins the second time through


def test_a_model_that_copies_by_position_is_unmasked_by_varying_the_length() -> None:
    model = blank(1, VOCABULARY)
    with torch.no_grad():
        model.attention[0].b_distance[0, 24] = 10.0  # always 24 back: what followed the copy, if 25 tokens repeat
        model.attention[0].W_V[0], model.attention[0].W_O[0] = torch.eye(VOCABULARY), 20 * torch.eye(VOCABULARY)
    found = {}
    for config, probe in PROBES.items():
        tokens = torch.from_numpy(probe)
        seen = evaluate(model, {"repeated": tokens}, frozenset({"repeated"}))
        late = seen.per_token_loss["repeated"][:, 50:]
        found[config] = best_prefix_matching(seen.attention["repeated"], probe, 0), float(late.mean())
    assert found[PAPER][0] == pytest.approx(1.0, abs=1e-3)  # induction, says the paper's probe
    assert found[PAPER][1] < 1e-3
    assert found[VARIED][0] < 0.01
    assert found[VARIED][1] > 5
