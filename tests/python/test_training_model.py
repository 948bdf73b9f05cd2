"""The transformer: shapes, a slow reference, causality, and what positions may tell."""

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

torch.set_num_threads(1)  # matrices this small only wait for each other

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from oracles.transformer import reference  # noqa: E402
from phaseflow.exceptions import MissingDataError, ParameterError, ShapeError  # noqa: E402
from phaseflow.metrics import prefix_matching_score  # noqa: E402
from phaseflow.training.model import ModelConfig, Transformer, smeared  # noqa: E402
from phaseflow.training.positions import distance_bias  # noqa: E402
from phaseflow.training.probe import per_token_loss  # noqa: E402


def model_of(seed: int = 0, **config: object) -> Transformer:
    """In float64 throughout, position tables too."""
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    try:
        model = Transformer(ModelConfig(**{"n_vocab": 11, "context": 9, "n_heads": 2, "d_model": 8} | config))
    finally:
        torch.set_default_dtype(torch.float32)
    for layer in model.attention:
        if hasattr(layer, "b_distance"):
            torch.nn.init.normal_(layer.b_distance, std=0.1)
        if layer.smear is not None:
            torch.nn.init.normal_(layer.smear)
    return model


def tokens_of(model: Transformer, batch: int = 3, n_pos: int = 10) -> torch.Tensor:
    return torch.randint(model.config.n_vocab, (batch, n_pos), generator=torch.Generator().manual_seed(1))


def assert_same_as_plain_matrix_products(model: Transformer, tokens: torch.Tensor) -> None:
    """Logits, losses, patterns and every gradient."""
    logits, patterns = reference(model, tokens)
    torch.testing.assert_close(model(tokens), logits, rtol=1e-9, atol=1e-11)
    in_one_pass, found_patterns = model.observed(tokens)
    torch.testing.assert_close(in_one_pass, logits, rtol=1e-9, atol=1e-11)
    for found, expected in zip(found_patterns, patterns, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    p = torch.exp(logits[:, :-1]) / torch.exp(logits[:, :-1]).sum(-1, keepdim=True)
    slow_losses = -torch.log(torch.gather(p, 2, tokens[:, 1:, None]))[..., 0]
    fast_losses = per_token_loss(model, tokens)
    torch.testing.assert_close(fast_losses, slow_losses, rtol=1e-9, atol=1e-11)
    weights = dict(model.named_parameters())
    slow, fast = (
        torch.autograd.grad(losses.mean(), list(weights.values()), materialize_grads=True, allow_unused=True)
        for losses in (slow_losses, fast_losses)
    )
    for name, a, b in zip(weights, fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")
        assert b.abs().max() > 0, f"{name} has no gradient: the test says nothing about it"


@pytest.mark.parametrize("smeared_keys", [False, True], ids=["plain", "smeared"])
@pytest.mark.parametrize("d_mlp", [None, 5], ids=["attention only", "mlp"])
@pytest.mark.parametrize("layer_norm", [False, True], ids=["linear", "layer norm"])
@pytest.mark.parametrize("positions", ["press", "rotary", "learned", "relative"])
def test_every_option_agrees_with_plain_matrix_products(
    positions: str, layer_norm: bool, d_mlp: int | None, smeared_keys: bool
) -> None:
    model = model_of(
        n_layers=2, positions=positions, layer_norm=layer_norm, d_mlp=d_mlp, smeared_keys=smeared_keys,
        relative_distances=4,
    )  # fmt: skip
    assert_same_as_plain_matrix_products(model, tokens_of(model, n_pos=6))


shapes = st.fixed_dictionaries(
    {
        "n_layers": st.integers(1, 3),
        "n_heads": st.sampled_from([1, 2, 4]),
        "positions": st.sampled_from(["press", "rotary", "learned", "relative"]),
        "relative_distances": st.sampled_from([1, 3, 7]),
        "seed": st.integers(0, 99),
    }
)


@given(shapes)
@settings(deadline=None, max_examples=10)
def test_any_shape_agrees_with_plain_matrix_products(config: dict) -> None:
    model = model_of(**config)
    assert_same_as_plain_matrix_products(model, tokens_of(model, n_pos=8))


@pytest.mark.parametrize("positions", ["press", "rotary", "learned", "relative"])
def test_pattern_rows_sum_to_one_and_never_look_ahead(positions: str) -> None:
    model = model_of(positions=positions)
    for pattern in model.patterns(tokens_of(model)):
        assert pattern.shape == (3, 2, 10, 10)
        torch.testing.assert_close(pattern.sum(-1), torch.ones(3, 2, 10, dtype=torch.float64))
        assert (pattern.triu(1) == 0).all()


@pytest.mark.parametrize("positions", ["press", "rotary", "learned", "relative"])
def test_a_later_token_changes_no_earlier_logit(positions: str) -> None:
    model = model_of(positions=positions)
    tokens = tokens_of(model)
    changed = tokens.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 11
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.equal(before[:, 6:], after[:, 6:])


def test_a_layer_without_positions_cannot_tell_the_order_of_earlier_tokens() -> None:
    model = model_of(positions="relative", n_layers=1, position_layers=0)
    tokens = tokens_of(model)
    swapped = tokens.clone()
    swapped[:, [1, 2]] = tokens[:, [2, 1]]
    torch.testing.assert_close(model(tokens)[:, -1], model(swapped)[:, -1])
    sighted = model_of(positions="relative", n_layers=1, position_layers=1)
    assert not torch.allclose(sighted(tokens)[:, -1], sighted(swapped)[:, -1])


def test_a_smeared_key_is_a_mix_with_the_one_before_and_the_first_is_its_own() -> None:
    keys = torch.tensor([[4.0], [8.0], [16.0]]).expand(1, 2, 3, 1)
    mixed = smeared(keys, torch.tensor([0.0, math.log(3)]))  # sigmoid(0) = 1/2, sigmoid(ln 3) = 3/4
    assert mixed.shape == (1, 2, 3, 1)
    assert mixed[0, 0, :, 0].tolist() == [4, 6, 12]
    torch.testing.assert_close(mixed[0, 1, :, 0], torch.tensor([4.0, 7.0, 14.0]))


@pytest.mark.parametrize("positions", ["press", "rotary", "learned", "relative"])
def test_keys_smeared_with_a_large_alpha_are_the_keys_themselves(positions: str) -> None:
    plain, smeared_model = model_of(positions=positions), model_of(positions=positions, smeared_keys=True)
    smeared_model.load_state_dict(plain.state_dict(), strict=False)
    tokens = tokens_of(plain)
    assert not torch.allclose(plain(tokens), smeared_model(tokens))
    for layer in smeared_model.attention:
        torch.nn.init.constant_(layer.smear, 50.0)
    torch.testing.assert_close(plain(tokens), smeared_model(tokens))


def test_smeared_keys_move_no_initial_weight_of_the_same_seed() -> None:
    torch.manual_seed(0)
    plain = Transformer(ModelConfig(n_vocab=11, context=9))
    torch.manual_seed(0)
    smeared_model = Transformer(ModelConfig(n_vocab=11, context=9, smeared_keys=True))
    assert all(torch.equal(smeared_model.state_dict()[name], weight) for name, weight in plain.state_dict().items())


def test_one_layer_whose_keys_are_wholly_their_predecessors_is_an_induction_head() -> None:
    model = model_of(n_vocab=8, n_layers=1, n_heads=1, layer_norm=False, positions="press", position_scale=0.0,
                     smeared_keys=True)  # fmt: skip
    attention = model.attention[0]
    with torch.no_grad():
        model.W_E.copy_(torch.eye(8))  # a token is its own direction
        attention.W_Q[0], attention.W_K[0] = 40 * torch.eye(8), 40 * torch.eye(8)
        attention.smear.fill_(-50.0)
    tokens = torch.tensor([[0, 3, 1, 6, 2, 3, 1, 6, 2]])
    (pattern,) = (layer.detach().numpy() for layer in model.patterns(tokens))
    assert prefix_matching_score(pattern, tokens.numpy(), bos=0) == pytest.approx([1.0])
    with torch.no_grad():
        attention.smear.fill_(50.0)  # keys of their own again: the head looks at copies, not at what follows them
    (pattern,) = (layer.detach().numpy() for layer in model.patterns(tokens))
    assert prefix_matching_score(pattern, tokens.numpy(), bos=0) == pytest.approx([0.0], abs=1e-6)


def test_distance_biases_lie_on_diagonals_and_the_last_one_serves_all_that_are_farther() -> None:
    inf = -math.inf
    expected = [[5, inf, inf, inf], [6, 5, inf, inf], [7, 6, 5, inf], [7, 7, 6, 5]]
    assert distance_bias(torch.tensor([[5.0, 6.0, 7.0]]), 4)[0].tolist() == expected
    assert distance_bias(torch.tensor([[5.0, 6.0, 7.0]]), 1)[0].tolist() == [[5]]


def test_weights_have_the_shapes_of_the_archive() -> None:
    shapes = {name: tuple(weight.shape) for name, weight in model_of(n_layers=1, n_heads=4).weights().items()}
    assert shapes == {
        "W_E": (11, 8),
        "W_U": (8, 11),
        "W_Q/L00": (4, 8, 2),
        "W_K/L00": (4, 8, 2),
        "W_V/L00": (4, 8, 2),
        "W_O/L00": (4, 2, 8),
        "b_distance/L00": (4, 32),
    }
    smears = {"W_Q/L00", "smear/L00"}
    assert smears <= model_of(n_layers=1, smeared_keys=True).weights().keys()


@pytest.mark.parametrize("positions", ["press", "rotary", "learned", "relative"])
def test_weights_are_all_that_a_model_of_the_same_configuration_needs_to_be_the_same(positions: str) -> None:
    given, taking = (model_of(seed, positions=positions, d_mlp=5, n_layers=2) for seed in (0, 1))
    tokens = tokens_of(given)
    assert not torch.equal(given(tokens), taking(tokens))
    taking.load_weights(given.weights())
    assert torch.equal(given(tokens), taking(tokens))


def test_weights_of_another_model_are_refused_by_name() -> None:
    model, other = model_of(), model_of(d_mlp=5, positions="learned", n_layers=1)
    with pytest.raises(MissingDataError, match=r"missing: W_K/L01.*unknown: W_in/L00, .*W_pos"):
        model.load_weights(other.weights())
    with pytest.raises(ShapeError, match=r"W_E has shape \(11, 4\), expected \(11, 8\)"):
        model.load_weights(model_of(d_model=4).weights())


def test_what_cannot_be_built_says_why() -> None:
    with pytest.raises(ParameterError, match="multiple of n_heads"):
        ModelConfig(n_vocab=11, context=9, n_heads=3, d_model=8)
    with pytest.raises(ParameterError, match="press, rotary, learned, relative"):
        ModelConfig(n_vocab=11, context=9, positions="alibi")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="come in pairs"):
        ModelConfig(n_vocab=11, context=9, n_heads=8, d_model=8, positions="rotary")
    with pytest.raises(ParameterError, match="position_layers"):
        ModelConfig(n_vocab=11, context=9, positions="learned", position_layers=1)
    with pytest.raises(ShapeError, match="11 positions"):
        model_of()(torch.zeros(1, 11, dtype=torch.int64))
