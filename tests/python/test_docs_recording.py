"""The bare loop of docs/recording.md runs as it stands there, and what it records can be analysed."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other

import phaseflow as pf
from phaseflow.training import ModelConfig, Transformer, look

PAGE = Path(__file__).parents[2] / "docs" / "recording.md"


def test_the_bare_loop_of_the_page_records_a_run(tmp_path, monkeypatch):
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    assert len(example.splitlines()) <= 10
    torch.manual_seed(0)
    inner = Transformer(ModelConfig(n_vocab=40, context=205, n_layers=2, n_heads=2, d_model=8))

    class Model(torch.nn.Module):
        def forward(self, tokens):
            return inner(tokens), inner.patterns(tokens)

    def train_step(model, batch):
        loss = torch.nn.functional.cross_entropy(model(batch)[0][:, :-1].flatten(0, 1), batch[:, 1:].flatten())
        gradients = torch.autograd.grad(loss, list(inner.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(inner.parameters(), gradients, strict=True):
                weight -= 0.1 * gradient

    monkeypatch.chdir(tmp_path)
    given = {
        "pf": pf, "torch": torch, "look": look, "model": Model(), "train_step": train_step, "n_vocab": 40,
        "text": torch.randint(1, 40, (2, 206)), "batches": torch.randint(1, 40, (14, 1, 30)), "checkpoints": range(14),
    }  # fmt: skip
    exec(example, given)
    archive = pf.open("runs/mine")
    assert archive.runs[0].steps == list(range(14))
    assert archive.head_scores().filter(metric="prefix_matching_score").height == 14 * 2 * 2
    assert archive.in_context_learning().height == 14
    assert archive.verdicts()["phase_change"].to_list() == [False]
