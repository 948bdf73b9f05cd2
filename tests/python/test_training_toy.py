"""The engine of toy models: what they answer, what they are shown, that a stack is nothing but its instances."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

import phaseflow as pf
from oracles import toy as oracle
from phaseflow.archive import Run
from phaseflow.exceptions import ParameterError
from phaseflow.training import Checkpoints
from phaseflow.training.toy import (
    FeatureSet,
    Instance,
    SparseFeatures,
    ToyConfig,
    ToyWeights,
    initial_weights,
    pattern_probabilities,
    quadrature,
    toy_losses,
    train_toy,
    varied_density,
)

CPU = torch.device("cpu")


def stack(*instances, n_features=4, n_hidden=2, steps=20, **more):
    more = {"batch_size": 64, "eval_size": 64, **more}
    return ToyConfig(n_features, n_hidden, instances, steps, **more)


def examples(instance, n_features=4, count=40_000, **more):
    """``(example, feature)`` that an instance is shown."""
    return SparseFeatures(stack(instance, n_features=n_features, **more), CPU, stream=0).batch(count)[0].T.numpy()


# The model


def test_the_loss_by_hand():
    # h = 1/2 - 1/4 = 1/4; answers 1/4 and 0; wrong by 1/4 each; the second counts 3: 1/16 + 3/16.
    x = torch.tensor([[[0.5], [0.25]]])
    weights = ToyWeights(torch.tensor([[[1.0, -1.0]]]), torch.zeros(1, 2))
    assert toy_losses(x, weights, torch.tensor([[1.0, 3.0]])).tolist() == [0.25]
    # Biased by 1/4: 1/2 and 0, so 0 + 3/16.
    weights.b += torch.tensor([0.25, 0.25])
    assert toy_losses(x, weights, torch.tensor([[1.0, 3.0]])).tolist() == [3 / 16]


@settings(max_examples=25)
@given(
    st.integers(1, 3), st.integers(1, 4), st.sampled_from(["linear", "relu"]), st.sampled_from(["relu", "linear"]),
    st.sampled_from(["identity", "absolute"]), st.booleans(), st.booleans(), st.integers(0, 2**32),
)  # fmt: skip
def test_the_loss_is_its_definition(n_hidden, n_features, hidden, output, task, tied, shared, seed):
    rng = np.random.default_rng(seed)
    W, W_out = rng.normal(size=(2, 2, n_hidden, n_features))
    b, importance = rng.normal(size=(2, n_features)), rng.uniform(size=(2, n_features))
    x = rng.uniform(-1, 1, size=(1 if shared else 2, n_features, 5))
    point_weights = rng.uniform(size=(2, 5))
    options = {"hidden": hidden, "output": output, "task": task}
    as_tensor = torch.from_numpy
    weights = ToyWeights(as_tensor(W), as_tensor(b), None if tied else as_tensor(W_out))
    found = toy_losses(as_tensor(x), weights, as_tensor(importance), **options)
    weighted = toy_losses(as_tensor(x), weights, as_tensor(importance), as_tensor(point_weights), **options)
    for i in range(2):
        of_examples = [
            oracle.losses([example], W[i], b[i], importance[i], W_out=None if tied else W_out[i], **options)
            for example in x[0 if shared else i].T
        ]
        assert found[i].item() == pytest.approx(np.mean(of_examples), rel=1e-12)
        assert weighted[i].item() == pytest.approx(of_examples @ point_weights[i], rel=1e-12)


# The examples


def test_features_are_active_as_often_as_they_should_and_even_on_the_unit_interval():
    density = (0.05, 0.3, 1.0, 0.0)
    x = examples(Instance(density))
    np.testing.assert_allclose((x > 0).mean(0), density, atol=4.5 * 0.5 / 200)
    for feature in (1, 2):
        quantiles = np.quantile(x[x[:, feature] > 0, feature], [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quantiles, [0.25, 0.5, 0.75], atol=0.03)
    assert np.corrcoef((x[:, :2] > 0).T)[0, 1] == pytest.approx(0, abs=0.03)


def test_a_correlated_set_is_active_whole_or_not_at_all():
    x = examples(Instance(0.2, sets=(FeatureSet((0, 2), "correlated"), FeatureSet((1, 3), "correlated"))))
    active = x > 0
    assert (active[:, 0] == active[:, 2]).all()
    assert (active[:, 1] == active[:, 3]).all()
    np.testing.assert_allclose(active.mean(0), 0.2, atol=0.02)
    assert np.corrcoef(active[:, 0], active[:, 1])[0, 1] == pytest.approx(0, abs=0.03)
    assert np.corrcoef(x[active[:, 0]][:, [0, 2]].T)[0, 1] == pytest.approx(0, abs=0.05)  # values are independent


def test_of_an_anticorrelated_set_one_member_is_active_or_none():
    active = examples(Instance(0.3, sets=(FeatureSet((0, 1, 3), "anticorrelated"),))) > 0
    members = active[:, [0, 1, 3]]
    assert set(members.sum(1)) == {0, 1}
    assert members.any(1).mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(members.mean(0), 0.1, atol=0.02)
    assert active[:, 2].mean() == pytest.approx(0.3, abs=0.02)


def test_the_absolute_task_has_values_of_both_signs():
    x = examples(Instance(0.5), task="absolute")
    assert x.min() < -0.99
    assert x[x != 0].mean() == pytest.approx(0, abs=0.02)


def test_varied_densities_lie_evenly_on_a_log_axis():
    density = np.log10(varied_density(4000, 0.01, 1.0, seed=3))
    np.testing.assert_allclose(np.quantile(density, [0.25, 0.5, 0.75]), [-1.5, -1, -0.5], atol=0.08)
    assert varied_density(3, 0.1, 1.0, seed=3) == varied_density(3, 0.1, 1.0, seed=3)


# The expectation


def test_probabilities_of_subsets_by_hand():
    expected = [Fraction(1, 2) * Fraction(2, 3), Fraction(1, 3), Fraction(1, 6), Fraction(1, 6)]
    assert pattern_probabilities([1 / 2, 1 / 3]) == pytest.approx([float(f) for f in expected])
    assert pattern_probabilities(np.full((7, 3), 0.1)).sum(1) == pytest.approx([1] * 7)


@pytest.mark.parametrize("density", [0.05, 0.6])
@pytest.mark.parametrize("W", [[[1, 0, 0], [0, 1, 0]], [[1, 0, -1], [0, 1, 0]]])
def test_quadrature_meets_the_closed_forms_and_fresh_samples(density, W):
    name = "last opposite another" if W[0][2] else "last ignored"
    expected = float(pf.superposition_losses(density, 2.0, n_features=3)[name])
    bias = torch.tensor([0.0, 0.0, 0.0 if W[0][2] else density / 2], dtype=torch.float64)[None]
    weights = ToyWeights(torch.tensor([W], dtype=torch.float64), bias)
    importance = torch.tensor([[1.0, 1.0, 2.0]], dtype=torch.float64)
    for points, error in ((64, 5e-2), (1024, 1e-2), (8192, 2e-3)):
        nodes = quadrature(3, points)
        x, shares = torch.from_numpy(nodes.x.T.copy())[None], torch.from_numpy(nodes.weights([[density] * 3]))
        assert shares.sum().item() == pytest.approx(1, rel=1e-12)
        assert toy_losses(x, weights, importance, shares).item() == pytest.approx(expected, rel=error)
    instance = Instance(density, (1.0, 1.0, 2.0))
    sampled = torch.from_numpy(examples(instance, n_features=3, count=200_000).T.astype(float))[None]
    wrong = [toy_losses(part, weights, importance).item() for part in sampled.split(2_000, dim=2)]
    assert abs(np.mean(wrong) - expected) < 4.5 * np.std(wrong) / len(wrong) ** 0.5


# Training


def test_an_instance_learns_the_same_in_any_stack():
    alone = Instance(0.2, 0.9, seed=5, restart=2)
    others = (Instance(0.7), Instance(0.1, sets=(FeatureSet((0, 1), "correlated"),), seed=1), alone)
    first, _ = train_toy(stack(alone))
    last, _ = train_toy(stack(*others))
    torch.testing.assert_close(first.W[0], last.W[2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.b[0], last.b[2], rtol=1e-4, atol=1e-5)


def test_seeds_and_restarts_begin_elsewhere_and_a_seed_decides_the_examples():
    config = stack(Instance(0.5), Instance(0.5, restart=1), Instance(0.5, seed=1))
    W = initial_weights(config, CPU).W
    assert len({tuple(each.flatten().tolist()) for each in W}) == 3
    x = SparseFeatures(config, CPU, stream=0).batch(10)
    assert torch.equal(x[0], x[1])
    assert not torch.equal(x[0], x[2])
    assert not torch.equal(x[0], SparseFeatures(config, CPU, stream=1).batch(10)[0])


def test_the_archive_holds_every_checkpoint_of_every_instance(tmp_path):
    config = stack(
        *(Instance(0.3, restart=i) for i in range(3)), tied=False, hidden="relu", checkpoints=Checkpoints(n_log=3)
    )
    weights, losses = train_toy(config, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.steps == config.checkpoints.steps(config.steps)
    shapes = {"toy/W": (3, 2, 4), "toy/W_out": (3, 2, 4), "toy/b": (3, 4), "toy/loss": (3,)}
    last = {name: np.asarray(run.tensor(20, f"weights/{name}")) for name in shapes}
    assert {name: array.shape for name, array in last.items()} == shapes
    np.testing.assert_array_equal(last["toy/W"], weights.W.numpy())
    np.testing.assert_array_equal(last["toy/loss"], losses.numpy())
    np.testing.assert_array_equal(run.tensor(0, "weights/toy/b"), np.zeros((3, 4)))
    assert run.config["toy"]["instances"][2]["restart"] == 2
    assert set(run.scalars()["name"]) == {"loss", "learning_rate"}


def test_a_run_that_was_stopped_is_completed_with_the_same_numbers(tmp_path):
    config = stack(Instance(0.3), steps=30, checkpoints=Checkpoints(n_log=1, dense_every=10))

    def stop(step, note):
        if step == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_toy(config, tmp_path / "stopped", on_step=stop)
    assert Run(tmp_path / "stopped").steps[-1] == 10
    train_toy(config, tmp_path / "stopped")
    train_toy(replace(config, checkpoints=config.checkpoints), tmp_path / "whole")
    stopped, whole = Run(tmp_path / "stopped"), Run(tmp_path / "whole")
    assert [stopped.checksums(s) for s in stopped.steps] == [whole.checksums(s) for s in whole.steps]
    # Finished: nothing is trained again.
    again, losses = train_toy(config, tmp_path / "whole", on_step=stop)
    assert torch.equal(again.W, torch.tensor(np.asarray(whole.tensor(30, "weights/toy/W"))))
    assert losses.shape == (1,)
    with pytest.raises(ParameterError, match="steps"):
        train_toy(replace(config, steps=40), tmp_path / "whole")


def test_where_training_starts_is_left_as_it_was():
    config = stack(Instance(0.3))
    start = initial_weights(config, CPU)
    before = start.W.clone()
    assert not torch.equal(train_toy(config, weights=start)[0].W, before)
    assert torch.equal(start.W, before)
    assert not start.W.requires_grad


def test_five_features_in_a_plane_become_the_pentagon_of_the_paper():
    # Density 0.05: D = 0.400, |W_i| = 1.135, b = -0.246, loss 0.0089.
    config = ToyConfig(
        5, 2, tuple(Instance(0.05, restart=i) for i in range(3)), steps=1200, data="expected", batch_size=256,
        checkpoints=Checkpoints(n_log=1),
    )  # fmt: skip
    weights, losses = train_toy(config)
    best = int(losses.argmin())
    W, b = weights.W[best].numpy(), weights.b[best].numpy()
    np.testing.assert_allclose(pf.feature_dimensionality(W), 0.400, atol=0.002)
    np.testing.assert_allclose(np.linalg.norm(W, axis=0), 1.135, atol=0.004)
    np.testing.assert_allclose(b, -0.246, atol=0.004)
    assert losses[best].item() == pytest.approx(0.0089, abs=1e-4)
    assert set(pf.feature_geometry(W)["geometry"]) == {"pentagon"}


def test_a_linear_model_keeps_the_most_important_features_and_no_superposition():
    config = stack(Instance(1.0, 0.5), output="linear", steps=600, batch_size=256)
    weights, _ = train_toy(config)
    np.testing.assert_allclose(pf.feature_dimensionality(weights.W[0].numpy()), [1, 1, 0, 0], atol=0.1)


def test_absolute_values_are_computed_by_twice_as_many_neurons():
    config = stack(
        Instance(0.3), n_features=2, n_hidden=6, hidden="relu", task="absolute", tied=False, steps=600, batch_size=256,
        checkpoints=Checkpoints(n_log=1),
    )  # fmt: skip
    _, losses = train_toy(config)
    assert losses.item() < 0.1 * 2 * (0.3 / 3 - 0.3**2 / 4)  # a tenth of the variance of |x|


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_learns_what_a_cpu_learns():
    config = replace(stack(Instance(0.2), Instance(0.5)), data="expected")
    on_gpu, _ = train_toy(config, device="cuda")
    on_cpu, _ = train_toy(config, device="cpu")
    torch.testing.assert_close(on_gpu.W.cpu(), on_cpu.W, rtol=1e-3, atol=1e-4)


# Errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "cube"}, "task is 'cube', expected identity or absolute"),
        ({"n_features": 9, "data": "expected"}, "n_features is 9; data='expected' takes at most 8"),
        ({"n_hidden": 0}, "n_hidden is 0, expected at least 1"),
        ({"instances": (Instance(1.5),)}, "instance 0 has density 1.5"),
        ({"instances": (Instance((0.1, 0.2)),)}, "instance 0 has 2 numbers for density, expected 1 or 4"),
        ({"instances": (Instance(sets=(FeatureSet((0, 4), "correlated"),)),)}, "expected each feature below 4 once"),
        ({"instances": (Instance((0.1, 0.2, 0.2, 0.2), sets=(FeatureSet((0, 1), "correlated"),)),)}, "unlike densit"),
        ({"instances": (Instance(sets=(FeatureSet((0, 1), "odd"),)),)}, "kind is 'odd'"),
        ({"instances": (Instance(sets=(FeatureSet((0,), "correlated"),)),), "data": "expected"}, "independent"),
    ],
)
def test_impossible_stacks_are_refused_by_name(change, message):
    with pytest.raises(ParameterError, match=message):
        replace(stack(Instance(0.5)), **change)


def test_a_density_out_of_range_and_too_many_features_are_refused():
    with pytest.raises(ParameterError, match="0 < low <= high <= 1"):
        varied_density(3, 0.0, 1.0, seed=0)
    with pytest.raises(ParameterError, match="expected 1 to 8 features"):
        quadrature(9, 10)
