"""A Hugging Face model in a bare loop: what the Recorder keeps is what the model showed, whole or compact."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
transformers = pytest.importorskip("transformers", reason="a peer, for tests only")

import phaseflow as pf  # noqa: E402

BATCH, POS, VOCABULARY, LAYERS, HEADS, WIDTH = 4, 24, 50, 2, 2, 16


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Ten steps of a GPT-2 of random weights on repeated tokens, recorded whole and as queries and keys."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=POS, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, attn_implementation="eager",
        attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = torch.randint(1, VOCABULARY, (BATCH, POS // 2)).repeat(1, 2)
    projected = {}  # what each layer's joint projection gives: queries, keys and values side by side
    for layer, block in enumerate(model.transformer.h):
        block.attn.c_attn.register_forward_hook(lambda _, __, out, layer=layer: projected.__setitem__(layer, out))
    run_dir = tmp_path_factory.mktemp("runs")
    attentions = {}
    probes = {"whole": pf.Probe(tokens), "compact": pf.Probe(tokens)}
    with pf.Recorder(run_dir, config={"model": "gpt2"}, probes=probes) as recorder:
        for step in range(11):
            out = model(tokens, output_attentions=True)
            loss = torch.nn.functional.cross_entropy(
                out.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
            )
            attentions[step] = [pattern.detach().numpy() for pattern in out.attentions]
            split = [
                projected[layer].detach().view(BATCH, POS, 3, HEADS, -1).permute(2, 0, 3, 1, 4) for layer in projected
            ]
            recorder.log(
                step,
                tokens_seen=step * tokens.numel(),
                scalars={"loss": loss.mean().item()},
                attention={
                    "whole": out.attentions,
                    "compact": [pf.CompactPattern(queries, keys) for queries, keys, _ in split],
                },
                per_token_loss={"whole": loss.view(BATCH, POS - 1)},
            )
            optimiser.zero_grad()
            loss.mean().backward()
            optimiser.step()
    return pf.open(run_dir), attentions, tokens.numpy()


def scores(archive, probe):
    return archive.head_scores().filter(probe=probe, metric="prefix_matching_score").sort("step", "layer", "head")


def test_the_archives_scores_are_those_of_the_models_patterns(run):
    archive, attentions, tokens = run
    expected = [pf.prefix_matching_score(pattern, tokens) for step in attentions for pattern in attentions[step]]
    np.testing.assert_array_equal(scores(archive, "whole")["value"].to_numpy(), np.concatenate(expected))


def test_queries_and_keys_from_a_hook_give_the_same(run):
    archive, *_ = run
    whole, compact = scores(archive, "whole"), scores(archive, "compact")
    np.testing.assert_allclose(compact["value"].to_numpy(), whole["value"].to_numpy(), rtol=1e-4)
    assert whole["value"].std() > 1e-3  # ten steps moved something


def test_the_loss_is_the_models_and_falls(run):
    archive, *_ = run
    loss = archive.scalars().filter(name="loss").sort("step")["value"]
    assert loss[0] == pytest.approx(np.log(VOCABULARY), rel=0.05)
    assert loss[-1] < loss[0] - 0.5
    mean, _ = pf.position_losses(archive.runs[0].tensor(0, "loss/whole"))
    assert mean.mean() == pytest.approx(loss[0], rel=1e-6)
