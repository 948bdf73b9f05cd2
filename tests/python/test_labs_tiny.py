"""The whole way from training to the verdict, at the smallest setting known to show it: yes for two layers, no for one."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

import phaseflow
from phaseflow.training import small_configs, train_together


@pytest.mark.train
def test_two_layers_go_through_the_phase_change_and_one_does_not(tmp_path: Path) -> None:
    configs = small_configs(seed=0)
    corpus = configs["two-layer"].corpus.build()
    train_together(
        {tmp_path / name: config for name, config in configs.items()},
        corpus,
        labels={tmp_path / name: name for name in configs},
    )
    archive = phaseflow.open(tmp_path)
    verdicts = {row["run"]: row for row in archive.verdicts().iter_rows(named=True)}
    assert verdicts["two-layer"]["phase_change"] is True, verdicts["two-layer"]["reason"]
    assert verdicts["two-layer"]["best_score"] > 0.3
    assert all(head.startswith("L1") for head in verdicts["two-layer"]["heads"])
    assert verdicts["one-layer"]["phase_change"] is False
    assert verdicts["one-layer"]["best_score"] < 0.1
    assert verdicts["two-layer"]["final_score"] < verdicts["one-layer"]["final_score"] - 0.1
