"""Callbacks: a model of Hugging Face or Lightning is trained by its own trainer, and its archive analyses like ours."""

# ruff: noqa: E402 (nothing below can be imported without the extra)

import warnings

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
torch.set_num_threads(1)  # matrices this small only wait for each other
transformers = pytest.importorskip("transformers", reason="a peer, for tests only")

import numpy as np

import phaseflow as pf
from phaseflow.exceptions import ParameterError, UnknownNameError
from phaseflow.training import Checkpoints
from phaseflow.training.capture import Capture, look

VOCABULARY, CONTEXT, STEPS, BATCH = 60, 208, 16, 2


def tokens_of(batch, pos, seed=0):
    return torch.randint(1, VOCABULARY, (batch, pos), generator=torch.Generator().manual_seed(seed))


REPEATED = pf.Probe(torch.cat([torch.zeros(3, 1, dtype=torch.int64), tokens_of(3, 12).repeat(1, 3)], 1), bos=0)
TEXT = pf.Probe(tokens_of(18, CONTEXT, seed=1))  # more examples than are looked at at once
PROBES = {"repeated": REPEATED, "text": TEXT}
CHECKPOINTS = Checkpoints(n_log=3, dense_every=1, dense_from=2)


def gpt2(**config):
    """Random weights; dropout stays on, as it is by default."""
    torch.manual_seed(0)
    size = {"vocab_size": VOCABULARY, "n_positions": CONTEXT, "n_embd": 16, "n_layer": 2, "n_head": 2}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**(size | ends | config)))


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return BATCH * STEPS

    def __getitem__(self, index):
        tokens = tokens_of(1, 40, seed=100 + index % 2)[0]  # soon known by heart
        return {"input_ids": tokens, "labels": tokens}


# Looking


def test_looking_gives_the_losses_and_patterns_of_a_plain_call():
    model = gpt2(attn_implementation="eager")
    seen = look(model, {name: torch.tensor(probe.tokens) for name, probe in PROBES.items()}, {"repeated"})
    model.eval()
    with torch.no_grad():
        out = model(torch.tensor(TEXT.tokens))
        losses = -out.logits.log_softmax(-1)[:, :-1].gather(2, torch.tensor(TEXT.tokens)[:, 1:, None])[..., 0]
        torch.testing.assert_close(seen.per_token_loss["text"], losses, rtol=1e-4, atol=1e-4)
        patterns = model(torch.tensor(REPEATED.tokens), output_attentions=True).attentions
    assert list(seen.attention) == ["repeated"]
    for found, expected in zip(seen.attention["repeated"], patterns, strict=True):
        torch.testing.assert_close(found, expected.half())


def test_fused_attention_is_set_aside_only_while_patterns_are_wanted():
    eager, fused = gpt2(attn_implementation="eager"), gpt2(attn_implementation="sdpa")
    tokens = {"repeated": torch.tensor(REPEATED.tokens)}
    expected, found = look(eager, tokens, {"repeated"}), look(fused, tokens, {"repeated"})
    torch.testing.assert_close(found.attention["repeated"], expected.attention["repeated"], rtol=1e-3, atol=1e-3)
    assert fused.config._attn_implementation == "sdpa"


def test_looking_leaves_mode_weights_and_random_state_alone():
    model = gpt2()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    state = torch.random.get_rng_state()
    assert model.training
    look(model, {"text": torch.tensor(TEXT.tokens)})
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_model_without_patterns_is_told_what_to_do():
    def forward(model, tokens, patterns):
        return model(input_ids=tokens).logits, None

    with pytest.raises(ParameterError, match=r"no attention patterns on probe 'repeated'.*attn_implementation"):
        look(gpt2(), {"repeated": torch.tensor(REPEATED.tokens)}, {"repeated"}, forward=forward)


# The schedule


def test_a_capture_looks_when_it_is_due_and_goes_on_after_its_last_step(tmp_path):
    model, due = gpt2(), [0, 1, 2, 4, 6]
    checkpoints = Checkpoints(n_log=1, dense_every=2, dense_to=6)
    for first, last in ((0, 3), (2, 6)):
        capture = Capture(tmp_path / "run", {"text": TEXT.tokens[:2]}, patterns=(), checkpoints=checkpoints)
        capture.begin(6, {"seed": 0})
        for step in range(first, last + 1):
            capture.step(step, model, tokens_seen=7 * step)
            capture.step(step, model)  # a trainer may say so twice
            capture.scalars(step, {"loss": step / 2, "note": "not a number"})
        capture.end()
    run = pf.open(tmp_path / "run").runs[0]
    assert run.steps == due
    scalars = run.scalars().sort("step")
    assert scalars["step"].to_list() == list(range(7))
    assert scalars["value"].to_list() == [step / 2 for step in range(7)]


def test_what_cannot_be_captured_says_why(tmp_path):
    with pytest.raises(UnknownNameError, match="patterns names repeated"):
        Capture(tmp_path / "run", {"text": TEXT})
    with pytest.raises(ParameterError, match="has not begun"):
        Capture(tmp_path / "run", PROBES).scalars(0, {"loss": 1.0})


# Trainers


def check_analysis(path):
    """Every table of the answer is there, and says of sixteen steps what can be said."""
    archive = pf.open(path)
    assert archive.problems.is_empty()
    assert archive.runs[0].steps == list(range(STEPS + 1))
    scores = archive.head_scores().filter(metric="prefix_matching_score")
    assert scores.height == (STEPS + 1) * 2 * 2
    assert scores["value"].is_between(0, 1).all()
    assert archive.in_context_learning().height == STEPS + 1
    assert archive.phase_changes().columns[0] == "run"
    verdict = archive.verdicts().row(0, named=True)
    assert verdict["phase_change"] is False
    assert verdict["reason"] == "no head became an induction head"
    losses = archive.loss_curve().sort("step")["value"]
    assert losses[0] == pytest.approx(np.log(VOCABULARY), abs=0.2)
    return archive


def test_a_trainer_of_hugging_face_records_an_archive_that_analyses_like_ours(tmp_path):
    pytest.importorskip("accelerate", reason="transformers' Trainer needs it")
    from phaseflow.training.huggingface import PhaseflowCallback

    model = gpt2()
    callback = PhaseflowCallback(tmp_path / "run", PROBES, checkpoints=CHECKPOINTS, tokens_per_step=BATCH * 40)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"), max_steps=STEPS, per_device_train_batch_size=BATCH, learning_rate=1e-2,
        warmup_steps=3, logging_steps=4, report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True,
        dataloader_pin_memory=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn of each other
        transformers.Trainer(model, arguments, train_dataset=Data(), callbacks=[callback]).train()
    archive = check_analysis(tmp_path / "run")
    run = archive.runs[0]
    assert run.config["events"] == {"end of warm-up": 3}
    assert run.config["model"]["n_embd"] == 16
    assert run.config["optimiser"]["learning_rate"] == 1e-2
    assert run.tokens_seen()["tokens_seen"].to_list() == [step * BATCH * 40 for step in range(STEPS + 1)]
    losses = run.scalars().filter(name="loss")
    assert losses["step"].to_list() == [4, 8, 12, 16]
    assert losses["value"][0] > losses["value"][-1] + 0.1
    # The last look is at the model that came out.
    seen = look(model, {"text": torch.tensor(TEXT.tokens)})
    stored = np.asarray(run.tensor(STEPS, "loss/text"))
    np.testing.assert_array_equal(stored, seen.per_token_loss["text"].numpy())


def test_a_trainer_of_lightning_records_an_archive_that_analyses_like_ours(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn of each other
        lightning = pytest.importorskip("lightning.pytorch", reason="a peer that may be absent")
        from phaseflow.training.lightning import PhaseflowCallback

        class Module(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.save_hyperparameters({"rate": 1e-2})
                self.model = gpt2()

            def training_step(self, batch, _):
                loss = self.model(**batch).loss
                self.log("loss", loss)
                return loss

            def configure_optimizers(self):
                return torch.optim.AdamW(self.parameters(), lr=self.hparams.rate)

        def forward(module, tokens, patterns):
            from phaseflow.training.capture import huggingface_forward

            return huggingface_forward(module.model, tokens, patterns)

        module = Module()
        callback = PhaseflowCallback(
            tmp_path / "run", PROBES, checkpoints=CHECKPOINTS, tokens_per_step=BATCH * 40, forward=forward
        )
        trainer = lightning.Trainer(
            max_steps=STEPS, accelerator="cpu", callbacks=[callback], logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
        )  # fmt: skip
        trainer.fit(module, torch.utils.data.DataLoader(Data(), batch_size=BATCH))
    archive = check_analysis(tmp_path / "run")
    run = archive.runs[0]
    assert run.config == {"rate": 1e-2}
    assert run.scalars().filter(name="loss")["step"].to_list() == list(range(1, STEPS + 1))
    assert run.tokens_seen()["tokens_seen"].to_list() == [step * BATCH * 40 for step in range(STEPS + 1)]
