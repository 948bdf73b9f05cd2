"""Configurations that are known to do what they are for."""

from dataclasses import replace

from phaseflow.training.batches import BatchConfig
from phaseflow.training.config import OptimiserConfig, TrainConfig
from phaseflow.training.corpus import CorpusConfig
from phaseflow.training.model import ModelConfig
from phaseflow.training.probe import ProbeConfig
from phaseflow.training.schedule import Checkpoints, LearningRate


def demo_configs(seed: int = 0) -> dict[str, TrainConfig]:
    """The demo's one-layer and two-layer run: same text, same order, same steps; only the number of layers differs."""
    # What was tried, on the same text, nothing repeated in it unless said; "change" is the window of the in-context
    # learning score, in millions of tokens.
    #   positions    learned, rotary, sinusoids on queries and keys: nothing by 8. A bias by distance: within 6.
    #   vocabulary   1024, 4 heads, batch 8 x 256: best prefix matching 0.28 at 8, still rising. 512 is quicker.
    #   context      256, batch 4: change at 1.8 to 6.3 (seed 0), too gradual to be told from smooth (seed 1).
    #                512, batch 2: change at 2.8 to 4.6 (seed 0), 2.8 to 5.0 (seed 1), and the paper's 500th token.
    #                512, batch 4: change at 2.3 to 5.3; the same, less sharp.
    #   repetition   a fifth of the sequences with a repeated passage: the change comes a third earlier. Not needed.
    two_layers = TrainConfig(
        model=ModelConfig(n_vocab=512, context=512, n_layers=2, n_heads=2, position_layers=1),
        steps=8_000,  # 8.2 million tokens: as long after the change as up to it, so that both sides are seen
        corpus=CorpusConfig(n_vocab=512),
        batches=BatchConfig(batch_size=2, repeat_share=0.0),
        optimiser=OptimiserConfig(learning_rate=LearningRate(peak=4e-3, warmup_steps=100)),
        checkpoints=Checkpoints(n_log=30, dense_every=125),
        seed=seed,
    )
    one_layer = replace(two_layers, model=replace(two_layers.model, n_layers=1))
    return {"one-layer": one_layer, "two-layer": two_layers}


def small_configs(seed: int = 0) -> dict[str, TrainConfig]:
    """The smallest one-layer and two-layer run known to tell each other apart: under a minute of a core each."""
    # Every sequence repeats a passage of itself, one head a layer, a narrow stream, a vocabulary of little more than
    # bytes: the change comes within 1.7 million tokens. Tried on the way: sequences of random tokens that repeat wait
    # longer (nothing but induction asks for a previous-token head), two heads take half as long again.
    two_layers = TrainConfig(
        model=ModelConfig(n_vocab=300, context=256, n_layers=2, n_heads=1, d_model=32, position_layers=1),
        steps=1_600,
        corpus=CorpusConfig(n_vocab=300),
        batches=BatchConfig(batch_size=8, repeat_share=1.0),
        optimiser=OptimiserConfig(learning_rate=LearningRate(peak=1e-2, warmup_steps=50)),
        checkpoints=Checkpoints(n_log=30, dense_every=50),
        probes=ProbeConfig(n_text=64),
        weights_every=8,
        seed=seed,
    )
    return {"one-layer": replace(two_layers, model=replace(two_layers.model, n_layers=1)), "two-layer": two_layers}


def tiny_config(source: str, *, n_layers: int = 2, seed: int = 0) -> TrainConfig:
    """Trains in about a second on a folder of text: for tests, and for trying out a pipeline."""
    return TrainConfig(
        model=ModelConfig(n_vocab=300, context=32, n_layers=n_layers, n_heads=2, d_model=16),
        steps=30,
        corpus=CorpusConfig(source=source, n_vocab=300, held_out_share=0.2),
        batches=BatchConfig(batch_size=4, repeat_share=0.25, repeat_shortest=4),
        optimiser=OptimiserConfig(learning_rate=LearningRate(peak=4e-3, warmup_steps=5)),
        checkpoints=Checkpoints(n_log=6),
        probes=ProbeConfig(n_repeated=3, repeat_length=8, n_repeats=3, n_text=6),
        weights_every=2,
        seed=seed,
    )
