"""Training with torch: model, data, probes, loop. Needs the extra ``train``."""

from phaseflow.exceptions import MissingExtraError

try:
    import rich  # noqa: F401
    import tokenizers  # noqa: F401
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError(
        f"training needs {error.name}, which is not installed: pip install 'phaseflow[train]'"
    ) from error

from phaseflow.training.ablation import HeadAblations, ablate_every_head, copying_scores, logits_without
from phaseflow.training.batches import BatchConfig, Batches
from phaseflow.training.capture import Capture, look
from phaseflow.training.config import OptimiserConfig, TrainConfig
from phaseflow.training.corpus import Corpus, CorpusConfig, build_corpus
from phaseflow.training.data import BOS, Data, DataConfig
from phaseflow.training.loop import train
from phaseflow.training.markov import MarkovConfig
from phaseflow.training.model import ModelConfig, Transformer
from phaseflow.training.presets import demo_configs, small_configs, tiny_config
from phaseflow.training.probe import ProbeConfig, evaluate, repeated_tokens
from phaseflow.training.repeats import RepeatsConfig
from phaseflow.training.schedule import Checkpoints, LearningRate, WeightDecay
from phaseflow.training.stack import train_stacked
from phaseflow.training.together import train_together
from phaseflow.training.token_file import TokenFileConfig

__all__ = [
    "BOS",
    "BatchConfig",
    "Batches",
    "Capture",
    "Checkpoints",
    "Corpus",
    "CorpusConfig",
    "Data",
    "DataConfig",
    "HeadAblations",
    "LearningRate",
    "MarkovConfig",
    "ModelConfig",
    "OptimiserConfig",
    "ProbeConfig",
    "RepeatsConfig",
    "TokenFileConfig",
    "TrainConfig",
    "Transformer",
    "WeightDecay",
    "ablate_every_head",
    "build_corpus",
    "copying_scores",
    "demo_configs",
    "evaluate",
    "logits_without",
    "look",
    "repeated_tokens",
    "small_configs",
    "tiny_config",
    "train",
    "train_stacked",
    "train_together",
]
