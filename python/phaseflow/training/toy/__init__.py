"""Toy models of superposition (Elhage 2022): thousands of them trained at once, as one stack."""

from phaseflow.training.toy.config import FeatureSet, Instance, ToyConfig, ToyOptimiser, varied_density
from phaseflow.training.toy.data import SparseFeatures
from phaseflow.training.toy.expectation import Quadrature, pattern_probabilities, quadrature
from phaseflow.training.toy.finite import FiniteConfig, FiniteResult, train_finite
from phaseflow.training.toy.loop import train_toy
from phaseflow.training.toy.model import ToyWeights, initial_weights, toy_losses, toy_output

__all__ = [
    "FeatureSet",
    "FiniteConfig",
    "FiniteResult",
    "Instance",
    "Quadrature",
    "SparseFeatures",
    "ToyConfig",
    "ToyOptimiser",
    "ToyWeights",
    "initial_weights",
    "pattern_probabilities",
    "quadrature",
    "toy_losses",
    "toy_output",
    "train_finite",
    "train_toy",
    "varied_density",
]
