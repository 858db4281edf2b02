"""Training objectives: frozen rows of parts. One class per idea."""

from .auxiliary import Certainty, NextToken, RightEntropy
from .canvas import Canvas, Noised
from .clipped import Beta, Clipped
from .layouts import Causal, Full, Layout, TwoStream
from .masking import AtLeastOne, Bernoulli, Masking, Window
from .objective import Auxiliary, Job, Loss, Objective, Once, Program, Reading, Replicas
from .orders import Ordered
from .policies import Complementary, ExactCount, Later, LaterCount, SoftTail, Span
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
    PerWeight,
    Shifted,
    Target,
    Targets,
    Term,
    Weight,
)
from .resembling import Resembling
from .times import Constant, LowDiscrepancy, Stratified, Times, Uniform
from .view import CLEAN, NOISED, View
from .weights import CleanContext, RealisedRate

__all__ = [
    "CLEAN", "NOISED", "Aligned", "AtLeastOne", "Auxiliary", "Bernoulli", "Beta", "Bound", "Canvas", "Causal",
    "Certainty", "CleanContext", "Clipped", "Complementary", "Constant", "CrossEntropy", "ExactCount", "Flat", "Full",
    "InverseRate", "Job", "Later", "LaterCount", "Layout", "Loss", "LowDiscrepancy", "Masking", "Mixture",
    "NextToken", "Noised", "Normaliser", "Objective", "Once", "Ordered", "PerDocument", "PerToken", "PerWeight",
    "Program", "Reading", "RealisedRate", "Replicas", "Resembling", "RightEntropy", "Shifted", "SoftTail", "Span",
    "Stratified", "Summed", "Target", "Targets", "Term", "Times", "TwoStream", "Uniform", "View", "Weight", "Window",
    "once",
]  # fmt: skip
