"""Toy models of a finite set of examples: the examples, the sparse gradient, and the polygon of the few."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)

import phaseflow as pf
from phaseflow.archive import Run
from phaseflow.exceptions import ParameterError
from phaseflow.training import Checkpoints
from phaseflow.training.toy import ToyWeights, toy_losses
from phaseflow.training.toy.finite import (
    BLOCK,
    FiniteConfig,
    SparseExamples,
    loss_and_gradient,
    sparse_examples,
    train_finite,
)


def test_the_loss_and_its_gradient_by_hand():
    # One example (3/5, 4/5, 0), W = (1, 0, 1), b = 0: h = 3/5, answers 3/5, 0, 3/5; loss 16/25 + 9/25 = 1.
    x = SparseExamples(torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([0.6, 0.8]), 1, 3)
    loss, dW, db = loss_and_gradient(x, torch.tensor([[1.0, 0.0, 1.0]]), torch.zeros(3))
    assert loss == pytest.approx(1)
    # By the answers: 2 (a - x) where a > 0, so 0, 0, 6/5. By W: through the answer, h · (0, 0, 6/5), and through h,
    # W · that = 6/5 times x.
    assert db.tolist() == pytest.approx([0, 0, 1.2])
    assert dW.flatten().tolist() == pytest.approx([1.2 * 0.6, 1.2 * 0.8, 0.6 * 1.2])


@settings(max_examples=25)
@given(st.integers(1, 2 * BLOCK + 3), st.integers(1, 12), st.integers(1, 3), st.integers(0, 2**32))
def test_the_sparse_gradient_is_that_of_the_dense_model(count, n_features, n_hidden, seed):
    config = FiniteConfig(count, n_features=n_features, n_hidden=n_hidden, density=0.3, seed=seed % 1000)
    x = sparse_examples(count, config, stream=0)
    rng = np.random.default_rng(seed)
    W, b = rng.normal(size=(n_hidden, n_features)), rng.normal(size=n_features)
    weights = ToyWeights(torch.tensor(W[None], requires_grad=True), torch.tensor(b[None], requires_grad=True))
    expected = toy_losses(x.dense().double().T[None], weights, torch.ones(1, n_features, dtype=torch.float64))
    expected.sum().backward()
    loss, dW, db = loss_and_gradient(x, torch.tensor(W, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
    assert loss == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)
    torch.testing.assert_close(dW.double(), weights.W.grad[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(db.double(), weights.b.grad[0], rtol=1e-3, atol=1e-4)


def test_examples_have_length_one_and_none_is_empty():
    config = FiniteConfig(3000, n_features=50, density=0.04)
    x = sparse_examples(3000, config, stream=0)
    dense = x.dense()
    torch.testing.assert_close(dense.norm(dim=1), torch.ones(3000))
    active = (dense > 0).sum(1)
    assert active.min() == 1
    # Binomial(50, 0.04) without 0: mean 2 / (1 - 0.96^50).
    assert active.double().mean().item() == pytest.approx(2 / (1 - 0.96**50), abs=0.1)
    assert torch.equal(x.hidden(torch.eye(50)), dense)


def test_a_seed_decides_the_examples_and_streams_differ():
    config = FiniteConfig(20)
    same, again = (sparse_examples(20, config, stream=0).dense() for _ in range(2))
    assert torch.equal(same, again)
    assert not torch.equal(same, sparse_examples(20, config, stream=1).dense())
    assert not torch.equal(same, sparse_examples(20, replace(config, seed=1), stream=0).dense())


@pytest.mark.parametrize("count", [4, 5])
def test_few_examples_are_remembered_on_a_polygon(count):
    found = [train_finite(FiniteConfig(count, n_features=300, density=0.03, steps=2500, restart=i)) for i in range(2)]
    best = min(found, key=lambda result: result.train_loss)
    assert best.train_loss < 0.01
    assert best.test_loss > 0.9
    share = pf.example_dimensionality(best.hidden.numpy())
    assert np.median(np.abs(share * count / 2 - 1)) < 0.1


def test_the_archive_holds_hidden_vectors_and_a_finished_run_is_only_loaded(tmp_path):
    config = FiniteConfig(6, n_features=40, density=0.1, n_test=10, steps=20, checkpoints=Checkpoints(n_log=2))
    result = train_finite(config, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.steps == config.checkpoints.steps(20)
    hidden = np.asarray(run.tensor(20, "weights/toy/hidden"))
    np.testing.assert_array_equal(hidden[0], result.hidden.numpy())
    assert np.asarray(run.tensor(0, "weights/toy/W")).shape == (1, 2, 40)
    assert pf.open(tmp_path / "run").feature_geometry()["feature"].max() == 39

    def refuse(step, note):
        raise AssertionError("trained again")

    again = train_finite(config, tmp_path / "run", on_step=refuse)
    assert torch.equal(again.W, result.W)
    assert (again.train_loss, again.test_loss) == (result.train_loss, result.test_loss)
    with pytest.raises(ParameterError, match="steps"):
        train_finite(replace(config, steps=30), tmp_path / "run")


def test_impossible_settings_are_refused_by_name():
    with pytest.raises(ParameterError, match="n_examples is 0, expected at least 1"):
        FiniteConfig(0)
    with pytest.raises(ParameterError, match=r"density is 0\.0, expected more than 0"):
        FiniteConfig(3, density=0.0)
