"""What a stack of toy models is trained on, as data (Elhage 2022).

    x_i = 0 with probability 1 - density_i, else uniform on [0, 1]
    h = W x,  x' = ReLU(Wᵀ h + b),  loss = sum over i of importance_i (x_i - x'_i)²

All models of a stack have as many features and dimensions and run as many steps; the rest is each instance's own.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from phaseflow.exceptions import ParameterError
from phaseflow.training.schedule import Checkpoints, LearningRate

#: Features of which the expectation is taken over every subset.
MOST_EXPECTED = 8


@dataclass(frozen=True)
class FeatureSet:
    """Features that are not independent; their values still are."""

    features: tuple[int, ...]
    #: "correlated": all are active, or none. "anticorrelated": one of them is active, each as often, or none.
    kind: Literal["correlated", "anticorrelated"]


@dataclass(frozen=True)
class Instance:
    """One model of the stack."""

    #: Probability that a feature is not 0: one for all, or one each. Of an anticorrelated set: that any of it is not.
    density: float | tuple[float, ...] = 1.0
    #: Weights of the squared errors, or a number: feature i counts importance^i.
    importance: float | tuple[float, ...] = 1.0
    sets: tuple[FeatureSet, ...] = ()
    #: Of the data. Instances of one seed see the same draws, so that what differs between them is not chance.
    seed: int = 0
    #: Together with the seed, of the initial weights.
    restart: int = 0


@dataclass(frozen=True)
class ToyOptimiser:
    """AdamW; without decay Adam. Nothing is clipped: the norm of a stack's gradient means nothing to its models."""

    learning_rate: LearningRate = field(default_factory=lambda: LearningRate(peak=1e-2, warmup_steps=0, decay="cosine"))
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0  # the toy models of the paper have none


@dataclass(frozen=True)
class ToyConfig:
    """Everything a stack's numbers depend on."""

    n_features: int
    n_hidden: int
    instances: tuple[Instance, ...]
    steps: int
    output: Literal["relu", "linear"] = "relu"
    hidden: Literal["linear", "relu"] = "linear"
    task: Literal["identity", "absolute"] = "identity"  # absolute: x on [-1, 1], to be answered by |x|
    tied: bool = True  # the output weights are Wᵀ; else weights of their own
    #: "sampled": a fresh batch each step. "expected": the expectation itself by quadrature, as of an infinite batch;
    #: for few, independent features.
    data: Literal["sampled", "expected"] = "sampled"
    batch_size: int = 1024  # examples; of "expected", points for each subset of active features
    eval_size: int = 4096  # examples, fixed, that the recorded losses are means over; not used by "expected"
    initial_scale: float = 1.0  # of Glorot's; small weights learn one feature after the other
    optimiser: ToyOptimiser = field(default_factory=ToyOptimiser)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)

    def __post_init__(self) -> None:
        for name in ("n_features", "n_hidden", "batch_size", "eval_size"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.steps < 0 or not self.instances:
            raise ParameterError(
                f"expected steps from 0 and at least one instance, got {self.steps}, {len(self.instances)}"
            )
        known = {
            "output": ("relu", "linear"), "hidden": ("linear", "relu"), "task": ("identity", "absolute"),
            "data": ("sampled", "expected"),
        }  # fmt: skip
        for name, choices in known.items():
            if getattr(self, name) not in choices:
                raise ParameterError(f"{name} is {getattr(self, name)!r}, expected {' or '.join(choices)}")
        if self.data == "expected" and self.n_features > MOST_EXPECTED:
            raise ParameterError(
                f"n_features is {self.n_features}; data='expected' takes at most {MOST_EXPECTED}, use data='sampled'"
            )
        for number, instance in enumerate(self.instances):
            self._check(number, instance)

    def _check(self, number: int, instance: Instance) -> None:
        density, importance = self.of_features(instance.density, "density", number), self.importances(number)
        if not ((density >= 0) & (density <= 1)).all() or not (importance >= 0).all():
            raise ParameterError(
                f"instance {number} has density {instance.density}, importance {instance.importance}; "
                "expected from 0 to 1, and from 0"
            )
        members = [feature for each in instance.sets for feature in each.features]
        if len(set(members)) < len(members) or not set(members) <= set(range(self.n_features)):
            raise ParameterError(
                f"the sets of instance {number} are {instance.sets}; expected each feature below {self.n_features} once"
            )
        if members and self.data == "expected":
            raise ParameterError(f"instance {number} has sets of features; data='expected' needs them independent")
        for each in instance.sets:
            if each.kind not in ("correlated", "anticorrelated"):
                raise ParameterError(f"kind is {each.kind!r}, expected correlated or anticorrelated")
            if len({density[feature] for feature in each.features}) > 1:
                raise ParameterError(f"features {each.features} of instance {number} form a set of unlike densities")

    def of_features(self, value: float | tuple[float, ...], name: str, number: int) -> NDArray[np.float64]:
        """One number for each feature, ``(feature,)``."""
        if isinstance(value, (int, float)):
            return np.full(self.n_features, float(value))
        if len(value) != self.n_features:
            raise ParameterError(
                f"instance {number} has {len(value)} numbers for {name}, expected 1 or {self.n_features}"
            )
        return np.array(value, float)

    def densities(self) -> NDArray[np.float64]:
        """``(instance, feature)``."""
        return np.stack([self.of_features(each.density, "density", i) for i, each in enumerate(self.instances)])

    def importances(self, number: int) -> NDArray[np.float64]:
        """``(feature,)`` of one instance."""
        value = self.instances[number].importance
        if isinstance(value, (int, float)):
            return np.power(float(value), np.arange(self.n_features), dtype=np.float64)
        return self.of_features(value, "importance", number)

    def as_record(self) -> dict[str, Any]:
        """The configuration as it stands in the archive: nothing but what JSON holds."""
        return {"toy": asdict(self)}


def varied_density(n_features: int, low: float, high: float, *, seed: int) -> tuple[float, ...]:
    """A density for each feature, drawn evenly in its logarithm."""
    if not 0 < low <= high <= 1:
        raise ParameterError(f"low and high are {low}, {high}; expected 0 < low <= high <= 1")
    return tuple(np.exp(np.random.default_rng(seed).uniform(np.log(low), np.log(high), n_features)).tolist())
