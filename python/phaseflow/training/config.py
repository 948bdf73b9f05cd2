"""Everything a run's numbers depend on, as frozen dataclasses, and as the record that stands in its archive."""

from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from phaseflow.exceptions import ParameterError
from phaseflow.training.batches import BatchConfig
from phaseflow.training.corpus import CorpusConfig
from phaseflow.training.data import Data, DataConfig
from phaseflow.training.model import ModelConfig
from phaseflow.training.probe import ProbeConfig
from phaseflow.training.schedule import Checkpoints, LearningRate, WeightDecay

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW."""

    learning_rate: LearningRate = field(default_factory=LearningRate)
    beta1: float = 0.9
    beta2: float = 0.99  # a memory of 100 steps: runs are thousands of steps long, not millions
    weight_decay: WeightDecay = field(default_factory=WeightDecay)  # of matrices; position biases are left alone
    clip_norm: float = 1.0  # of the whole gradient: a rare long one must not throw Adam's averages off


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run's numbers depend on."""

    model: ModelConfig
    steps: int
    corpus: DataConfig = field(default_factory=CorpusConfig)
    batches: BatchConfig = field(default_factory=BatchConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    probes: ProbeConfig = field(default_factory=ProbeConfig)
    precision: Precision = "auto"  # bfloat16 autocast on CUDA, float32 elsewhere; weights and probes stay float32
    compile: bool | Literal["auto"] = "auto"  # torch.compile: on CUDA
    weights_every: int = 4  # checkpoints: weights take more room than losses and are read more seldom
    seed: int = 0  # of the initial weights and of the order of the text

    def __post_init__(self) -> None:
        if self.steps < 1 or self.weights_every < 1:
            raise ParameterError(f"steps and weights_every must be at least 1, got {self.steps}, {self.weights_every}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ParameterError(f"precision must be auto, float32 or bfloat16, got {self.precision!r}")
        if self.compile not in (True, False, "auto"):
            raise ParameterError(f"compile must be True, False or 'auto', got {self.compile!r}")
        if self.model.n_vocab != self.corpus.n_vocab:
            raise ParameterError(
                f"model.n_vocab is {self.model.n_vocab}, corpus.n_vocab {self.corpus.n_vocab}: they must be equal"
            )
        if self.corpus.repeats and self.probes.n_tokens > self.model.context:
            raise ParameterError(
                f"the repeated probe has {self.probes.n_tokens} tokens, more than the context {self.model.context}:"
                " a longer context, or a probe of fewer or shorter repeats, helps"
            )

    @property
    def tokens_per_step(self) -> int:
        """Predicted tokens of one update."""
        return self.batches.batch_size * self.model.context

    def work(self, step: int) -> int:
        """Computing up to and including what is looked at after `step` updates, in updates: what a progress bar shows.

        A look is a forward pass over the probes, a third of what an update costs for as many tokens.
        """
        probes = self.probes.n_text * self.model.context
        probes += 2 * self.probes.n_repeated * self.probes.n_tokens  # patterns and losses
        looks = bisect_right(self.checkpoints.steps(self.steps), step)
        return step + looks * round(probes / (3 * self.tokens_per_step))

    def as_record(self, corpus: Data) -> dict[str, Any]:
        """The configuration as it stands in the archive: nothing but what JSON holds."""
        record = asdict(self)
        record["corpus"] |= {"kind": self.corpus.kind, "fingerprint": corpus.fingerprint}
        # The analysis warns where a phase change coincides with one of these.
        events = self.optimiser.learning_rate.events() | self.optimiser.weight_decay.events()
        record["events"] = {name: step for name, step in events.items() if step < self.steps}
        return record
