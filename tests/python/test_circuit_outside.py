"""Circuits beside others' numbers, and inside a model whose heads were set by hand."""

import csv
import warnings

import numpy as np
import pytest
import torch

import phaseflow as pf
from phaseflow.training.model import ModelConfig, Transformer
from shared_data import shared

# The published eigenvalues of GPT-2 small's L11H11


def number(text):
    return float(text.removeprefix("np.float64(").removesuffix(")"))


def published_spectrum():
    with shared("transformerlens_gpt2_heads", "gpt2-small_L11H11_OV_eigenvalues.csv").open() as file:
        return np.array([complex(number(row["re"]), number(row["im"])) for row in csv.DictReader(file)])


def head_with(spectrum, rng, d_model=160):
    """Factors of a random matrix with these eigenvalues, conjugates included, and zeros besides."""
    blocks, pairs = np.zeros((len(spectrum), len(spectrum))), spectrum[spectrum.imag > 0]
    for place, value in enumerate(spectrum[spectrum.imag == 0]):
        blocks[place, place] = value.real
    first = len(spectrum) - 2 * len(pairs)
    for place, value in zip(range(first, len(spectrum), 2), pairs, strict=True):
        blocks[place : place + 2, place : place + 2] = [[value.real, value.imag], [-value.imag, value.real]]
    W_V = rng.normal(size=(d_model, len(spectrum)))
    left_inverse = np.linalg.pinv(W_V)
    return W_V @ blocks, left_inverse


def test_the_published_eigenvalues_give_the_published_copying_score():
    spectrum = published_spectrum()
    with shared("transformerlens_gpt2_heads", "head_scores.csv").open() as file:
        rows = {(row["model"], row["score"], row["layer"], row["head"]): row["value"] for row in csv.DictReader(file)}
    published = float(rows["gpt2-small", "OV_copying_score", "11", "11"])
    W_V, W_O = head_with(spectrum, np.random.default_rng(0))
    found = pf.ov_eigenvalues(np.eye(160), W_V, W_O, np.eye(160))
    for value in spectrum:
        assert np.abs(found - value).min() < 1e-9
    assert pf.ov_copying_statistic(np.eye(160), W_V, W_O, np.eye(160)) == pytest.approx(published, abs=2e-7)


# A circuit planted in a model

VOCAB = 12


def planted_model(sharpness=60.0):
    """Head 0.0 writes each token into the next position; head 1.0 looks there for its own token, and copies.

    The stream holds the token in its first half, the token before in its second; heads 0.1 and 1.1 are small noise.
    """
    torch.manual_seed(0)
    model = Transformer(
        ModelConfig(n_vocab=VOCAB, context=4 * VOCAB, n_heads=2, d_model=2 * VOCAB, layer_norm=False, position_layers=1)
    )
    token, before = torch.eye(2 * VOCAB)[:, :VOCAB], torch.eye(2 * VOCAB)[:, VOCAB:]
    with torch.no_grad():
        model.W_E.copy_(token.T)
        model.W_U.copy_(token)
        for attention in model.attention:
            for weights in (attention.W_Q, attention.W_K, attention.W_V, attention.W_O):
                weights[0] = 0
                weights[1] *= 1e-3
        first, second = model.attention
        first.b_distance[0, 1] = sharpness
        first.W_V[0], first.W_O[0] = token, before.T
        second.W_Q[0], second.W_K[0] = sharpness * token, before
        second.W_V[0], second.W_O[0] = token, token.T
    return model


def test_a_planted_induction_circuit_shows_in_patterns_and_in_weights():
    model = planted_model()
    rng = np.random.default_rng(1)
    tokens = np.stack([np.tile(1 + rng.permutation(VOCAB - 1), 3) for _ in range(4)])
    tokens = np.pad(tokens, ((0, 0), (1, 0)))  # a start token 0: the first position has no token before
    with torch.no_grad():
        first, second = (pattern.numpy() for pattern in model.patterns(torch.from_numpy(tokens)))
    assert pf.prefix_matching_score(second, tokens, bos=0)[0] == pytest.approx(1, abs=1e-6)
    previous = [
        pf.head_scores(pattern, tokens).filter(metric="previous_token_score")["value"] for pattern in (first, second)
    ]
    assert previous[0][0] == pytest.approx(1, abs=1e-6)

    weights = {
        name: np.stack([getattr(layer, name).detach().numpy() for layer in model.attention])
        for name in ("W_Q", "W_K", "W_V", "W_O")
    }
    W_E, W_U = model.W_E.detach().numpy(), model.W_U.detach().numpy()
    copying = pf.ov_copying_statistic(W_E, weights["W_V"], weights["W_O"], W_U)
    assert copying[1, 0] == pytest.approx(1, abs=1e-12)
    scores = {kind: pf.composition_scores(**weights, kind=kind)[0, :, 1] for kind in "QKV"}
    assert scores["K"][0, 0] == pytest.approx(1 / np.sqrt(VOCAB), rel=1e-6)
    assert scores["K"][0, 0] > scores["K"].flatten()[1:].max()
    assert scores["Q"][0, 0] == scores["V"][0, 0] == 0
    terms = pf.qk_previous_token_term(W_E, **weights, previous_token_scores=np.stack(previous))
    # The trace over the vocabulary of sharpness times the identity.
    assert terms[1, 0] == pytest.approx(60 * VOCAB, rel=1e-5)
    assert abs(terms[1, 1]) < 1


# TransformerLens, where it is installed


@pytest.fixture
def lens():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformer_lens", reason="TransformerLens is not installed")


def random_weights(heads=4):
    rng = np.random.default_rng(2)
    shapes = dict.fromkeys(("W_Q", "W_K", "W_V"), (3, heads, 24, 6)) | {"W_O": (3, heads, 6, 24)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("heads", [4, 12])
@pytest.mark.parametrize("kind", ["Q", "K", "V"])
def test_composition_scores_are_transformer_lens(lens, kind, heads):
    utilities = pytest.importorskip("transformer_lens.utilities", reason="TransformerLens is older than 4.0")
    weights = random_weights(heads)
    W_Q, W_K, W_V, W_O = (torch.from_numpy(weights[name]) for name in weights)
    writes, reads = lens.FactoredMatrix(W_V, W_O), lens.FactoredMatrix(W_Q, W_K.mT)
    reads = {"Q": reads, "K": reads.T, "V": writes}[kind]
    expected = utilities.composition_scores(writes, reads, broadcast_dims=True).numpy()
    earlier = np.arange(3)[:, None, None, None] < np.arange(3)[None, None, :, None]
    np.testing.assert_allclose(pf.composition_scores(**weights, kind=kind), expected * earlier, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_eigenvalues_are_transformer_lens(lens):
    weights = random_weights()
    circuits = lens.FactoredMatrix(torch.from_numpy(weights["W_V"]), torch.from_numpy(weights["W_O"]))
    expected = circuits.eigenvalues.numpy()
    found = pf.factored_eigenvalues(weights["W_V"], weights["W_O"])
    for place in np.ndindex(found.shape[:-1]):
        for value in expected[place]:
            assert np.abs(found[place] - value).min() < 1e-6
