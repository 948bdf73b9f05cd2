"""What the lab trains: variants of one model, each with several seeds, the most decisive runs first.

Every variant differs from `two-layer` in one thing, so that what changes with it is its doing. Two scales of the base
are known to go through the phase change on Python's standard library: `full`, the demo's, on the text as it is, within
8 million tokens; and `small`, a tenth of the computing, where every training sequence repeats a passage of itself.
"""

from dataclasses import dataclass, replace

from phaseflow.exceptions import UnknownNameError
from phaseflow.training import (
    CorpusConfig,
    OptimiserConfig,
    TrainConfig,
    WeightDecay,
    demo_configs,
    small_configs,
)

SMALL, FULL, AUTO = "small", "full", "auto"
SCALES = {SMALL: small_configs, FULL: demo_configs}

TWO, ONE, THREE = "two-layer", "one-layer", "three-layer"
ONE_SMEARED, TWO_SMEARED = "one-layer-smeared-keys", "two-layer-smeared-keys"
ONE_MLP, TWO_MLP = "one-layer-mlp", "two-layer-mlp"
OTHER_TEXT, OTHER_SCHEDULE = "two-layer-other-text", "two-layer-other-schedule"

#: The first round decides the most claims a minute; seeds come before side questions.
FIRST = ((TWO, 0), (ONE, 0), (TWO, 1), (ONE, 1), (TWO, 2))
SECOND = (ONE_SMEARED, OTHER_TEXT, OTHER_SCHEDULE, TWO_SMEARED, TWO_MLP, THREE, ONE_MLP)
MOST_SEEDS = 5


@dataclass(frozen=True, order=True)
class Job:
    """One run of the sweep."""

    variant: str
    seed: int

    @property
    def name(self) -> str:
        """What the run is called, and its folder below that of the lab."""
        return f"{self.variant}/seed{self.seed}"


def jobs(*, text: str | None) -> list[Job]:
    """Every run of the sweep, the most decisive first; without another text those that need it are left out."""
    order = [Job(*each) for each in FIRST]
    for seed in range(MOST_SEEDS):
        order += [Job(variant, seed) for variant in SECOND if variant != OTHER_TEXT or text is not None]
        order += [Job(variant, seed) for variant in (TWO, ONE)]
    return list(dict.fromkeys(order))


def check_scale(scale: str) -> None:
    """Refuses a scale that is none."""
    if scale not in (AUTO, *SCALES):
        raise UnknownNameError(f"scale is {scale!r}, known: {', '.join((AUTO, *SCALES))}")


def config_of(job: Job, *, text: str | None, scale: str) -> TrainConfig:
    """What a run trains."""
    base = SCALES[scale](job.seed)["two-layer"]
    model = base.model
    changed = {
        TWO: base,
        ONE: replace(base, model=replace(model, n_layers=1)),
        THREE: replace(base, model=replace(model, n_layers=3)),
        ONE_SMEARED: replace(base, model=replace(model, n_layers=1, smeared_keys=True)),
        TWO_SMEARED: replace(base, model=replace(model, smeared_keys=True)),
        ONE_MLP: replace(base, model=replace(model, n_layers=1, d_mlp=4 * model.d_model)),
        TWO_MLP: replace(base, model=replace(model, d_mlp=4 * model.d_model)),
        OTHER_SCHEDULE: replace(base, optimiser=other_schedule(base)),
        OTHER_TEXT: replace(base, corpus=CorpusConfig(source=text or "", n_vocab=model.n_vocab)),
    }
    return changed[job.variant]


def other_schedule(base: TrainConfig) -> OptimiserConfig:
    """Warm-up ten times as long, an eighth of the run at most; weight decay ten times as strong up to 3/4 of it."""
    rate, decay = base.optimiser.learning_rate, base.optimiser.weight_decay.initial
    return replace(
        base.optimiser,
        learning_rate=replace(rate, warmup_steps=min(10 * rate.warmup_steps, base.steps // 8)),
        weight_decay=WeightDecay(initial=10 * decay, changes=((3 * base.steps // 4, decay),)),
    )
