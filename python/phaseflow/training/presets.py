"""Configurations that are known to do what they are for."""

from dataclasses import replace

from phaseflow.training.batches import BatchConfig
from phaseflow.training.corpus import CorpusConfig
from phaseflow.training.loop import OptimiserConfig, TrainConfig
from phaseflow.training.model import ModelConfig
from phaseflow.training.probe import ProbeConfig
from phaseflow.training.schedule import Checkpoints, LearningRate


def demo_configs(seed: int = 0) -> dict[str, TrainConfig]:
    """The demo's one-layer and two-layer run: same text, same order, same steps; only the number of layers differs."""
    two_layers = TrainConfig(
        model=ModelConfig(n_vocab=512, context=256, n_layers=2, n_heads=2, position_layers=1),
        steps=10_000,
        corpus=CorpusConfig(n_vocab=512),
        batches=BatchConfig(batch_size=4, repeat_share=0.0),
        optimiser=OptimiserConfig(learning_rate=LearningRate(peak=4e-3, warmup_steps=100)),
        checkpoints=Checkpoints(n_log=30, dense_every=125),
        seed=seed,
    )
    one_layer = replace(two_layers, model=replace(two_layers.model, n_layers=1))
    return {"one-layer": one_layer, "two-layer": two_layers}


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
