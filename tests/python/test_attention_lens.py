"""TransformerLens beside us: its head detector and pattern builders where the definitions coincide, its cache recorded.

`make test-peers` installs it; elsewhere these are skipped.
"""

import warnings

import numpy as np
import pytest

import phaseflow as pf

torch = pytest.importorskip("torch", reason="TransformerLens needs torch")

pytestmark = pytest.mark.filterwarnings("ignore")

HEADS = {"previous_token_head": "previous_token_score", "duplicate_token_head": "duplicate_token_score"}
HEADS["induction_head"] = "prefix_matching_score"


@pytest.fixture(scope="module")
def lens():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformer_lens", reason="TransformerLens is not installed")


@pytest.fixture(scope="module")
def model(lens):
    bridge = pytest.importorskip("transformer_lens.model_bridge", reason="TransformerLens is older than 4.0")
    config = {
        "n_layers": 2, "d_model": 32, "n_ctx": 64, "d_head": 8, "n_heads": 4, "d_vocab": 30, "act_fn": "relu",
        "seed": 0,
    }  # fmt: skip
    return bridge.TransformerBridge.boot_native(config)


@pytest.fixture(scope="module")
def tokens():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 12, (1, 40)))


@pytest.mark.parametrize("head", HEADS)
def test_the_head_detector_finds_the_same_attention(lens, model, tokens, head):
    from transformer_lens import head_detector

    _, cache = model.run_with_cache(tokens, remove_batch_dim=True)
    pattern = getattr(head_detector, f"get_{head}_detection_pattern")(tokens)
    # It takes text; given tokens, its comparison is reached below that.
    mul = [
        [
            head_detector.compute_head_attention_similarity_score(
                cache["pattern", layer][at],
                pattern,
                exclude_bos=False,
                exclude_current_token=False,
                error_measure="mul",
            )
            for at in range(4)
        ]
        for layer in range(2)
    ]
    for layer in range(2):
        table = pf.head_scores(cache["pattern", layer], tokens[0]).filter(metric=HEADS[head])
        # It divides by the number of rows, we by the number of those that have a target.
        ours = table["value"].to_numpy() * table["n_queries"].to_numpy() / tokens.shape[1]
        np.testing.assert_allclose(ours, mul[layer], rtol=1e-5)


@pytest.mark.parametrize("head", ["duplicate_token_head", "induction_head"])
def test_the_pattern_builders_mark_the_same_entries(lens, tokens, head):
    from transformer_lens import head_detector

    built = getattr(head_detector, f"get_{head}_detection_pattern")(tokens).numpy()
    offset = 1 if head == "induction_head" else 0
    # A head with one entry of a pattern scores by it: all of them at once, entry by entry as heads.
    context = tokens.shape[1]
    single = np.eye(context * context).reshape(-1, context, context)
    marked = pf.prefix_matching_score(single, tokens[0].numpy(), offset=offset) > 0
    np.testing.assert_array_equal(marked.reshape(context, context), built > 0)


def test_its_cache_is_recorded_whole_and_as_queries_and_keys(lens, model, tokens, tmp_path):
    batch = tokens.view(2, 20)
    _, cache = model.run_with_cache(batch)

    def part(name, layer):  # (batch, pos, head, d_head) -> (batch, head, pos, d_head)
        return cache[name, layer, "attn"].transpose(1, 2)

    probes = {"whole": pf.Probe(batch), "compact": pf.Probe(batch)}
    with pf.Recorder(tmp_path / "run", probes=probes) as recorder:
        whole = [cache["pattern", layer] for layer in range(2)]
        compact = [pf.CompactPattern(*(part(name, layer) for name in ("q", "k"))) for layer in range(2)]
        recorder.log(1, attention={"whole": whole, "compact": compact})
    table = pf.open(tmp_path / "run").head_scores().sort("layer", "head", "metric")
    np.testing.assert_allclose(table.filter(probe="compact")["value"], table.filter(probe="whole")["value"], rtol=1e-4)
    assert table["unnormalised_rows"].sum() == 0
