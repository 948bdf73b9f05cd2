"""Measures of tensors that lie in an archive's files: read where they are, with the same bits as in memory."""

import numpy as np
import pytest

import phaseflow as pf
from phaseflow import _core
from strategies import DTYPES


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_stored_tensor_is_measured_as_the_array_it_was_written_from(tmp_path, dtype):
    rng = np.random.default_rng(6)
    pattern = rng.dirichlet(np.ones(20), (2, 3, 20)).astype(dtype)
    losses = rng.random((5, 30, 12)).astype(dtype)
    tokens = rng.integers(0, 4, (2, 20))
    path = tmp_path / "0.safetensors"
    arrays = {"pattern": pattern, "losses": losses}
    rows = [(name, dtype.name, array.shape, np.frombuffer(array.tobytes(), np.uint8)) for name, array in arrays.items()]
    _core.write_shard(path, rows, {})
    shard = _core.Shard(path)
    assert pf.head_scores(shard.tensor("pattern"), tokens).equals(pf.head_scores(pattern, tokens))
    for measure in (pf.position_losses, pf.loss_log_derivative):
        np.testing.assert_array_equal(measure(shard.tensor("losses")), measure(losses))
