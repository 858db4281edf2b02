"""DiffusionLLM: a masked language model adapted by RDM's loss (nested pairs, weight T - t), then tuned on instructions: the
prompt is never masked. The paper's length head is not part of this recipe: our canvases have a length before decoding."""

from __future__ import annotations

from ..objectives import CrossEntropy, Objective, PerDocument, Uniform
from ..objectives.reached import Discrete
from ..objectives.steps import Nested, StepWeight
from .recipe import Optimiser, Recipe

STEPS = 50

RECIPE = Recipe(
    paper="2308.12219 Diffusion Language Models Can Perform Many Tasks with Scaling and Instruction-Finetuning",
    program=Objective(
        times=Discrete(STEPS, Uniform(low=0.0)),
        term=CrossEntropy(subs=False),
        weight=StepWeight(STEPS, "remaining"),
        normaliser=PerDocument("answer"),
        replicas=Nested(),
    ),
    needs=("mask",),
    decodes_with="llada",
    optimiser=Optimiser(lr=5e-5),
)
