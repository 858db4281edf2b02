"""Likelihoods: one interface, nine estimators, each a frozen value; every value comes with its standard error."""

from .blockwise import Blockwise
from .density import Density, uniform_row
from .estimator import LogProb, LogProbEstimator, Tick, default_estimator, row_of
from .guided import Guided
from .names import ESTIMATORS, estimator_of
from .ordered import AnyOrder, LeftToRight, Replay
from .sampled import Coupled, ExactCount, MonteCarlo, Quadrature, Stratified

__all__ = [
    "ESTIMATORS", "AnyOrder", "Blockwise", "Coupled", "Density", "ExactCount", "Guided", "LeftToRight", "LogProb",
    "LogProbEstimator", "MonteCarlo", "Quadrature", "Replay", "Stratified", "Tick", "default_estimator",
    "estimator_of", "row_of", "uniform_row",
]  # fmt: skip
