"""Training objectives: frozen rows of parts. One class per idea."""

from .canvas import Canvas, Noised
from .layouts import Causal, Full, Layout, TwoStream
from .masking import AtLeastOne, Bernoulli, Masking, Window
from .objective import Auxiliary, Job, Loss, Objective, Once, Program, Reading, Replicas
from .programs import Mixture, Summed, once
from .readings import (
    Aligned,
    Bound,
    CrossEntropy,
    Flat,
    InverseRate,
    Normaliser,
    PerDocument,
    PerToken,
    Shifted,
    Target,
    Targets,
    Term,
    Weight,
)
from .times import Constant, LowDiscrepancy, Stratified, Times, Uniform
from .view import CLEAN, NOISED, View

__all__ = [
    "CLEAN", "NOISED", "Aligned", "AtLeastOne", "Auxiliary", "Bernoulli", "Bound", "Canvas", "Causal", "Constant",
    "CrossEntropy", "Flat", "Full", "InverseRate", "Job", "Layout", "Loss", "LowDiscrepancy", "Masking", "Mixture",
    "Noised", "Normaliser", "Objective", "Once", "PerDocument", "PerToken", "Program", "Reading", "Replicas", "Shifted",
    "Stratified", "Summed", "Target", "Targets", "Term", "Times", "TwoStream", "Uniform", "View", "Weight", "Window",
    "once",
]  # fmt: skip
