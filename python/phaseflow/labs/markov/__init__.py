"""Statistical induction heads (Edelman 2024): from uniform through unigram to bigram predictions, found unprompted."""

from phaseflow.labs.markov.experiment import markov_configs, run
from phaseflow.labs.markov.stages import Findings, find

__all__ = ["Findings", "find", "markov_configs", "run"]
