"""LLaDA's fine-tuning on prompts and answers: the prompt is never masked; each answer's sum of cross entropy by the
probability of being masked is divided by the answer's length, then the mean over rows. Answers are padded with end tokens
up to the row's end, and these are learned like the rest.
"""

from __future__ import annotations

from ..objectives import CrossEntropy, InverseRate, Objective, PerDocument
from ..objectives.times import Uniform
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2502.09992 Large Language Diffusion Models (supervised fine-tuning)",
    program=Objective(
        times=Uniform(low=1e-3),
        term=CrossEntropy(subs=False),
        weight=InverseRate(),
        normaliser=PerDocument("answer"),
    ),
    needs=("mask",),
    decodes_with="llada",
    rows=Rows(end="all"),
    optimiser=Optimiser(lr=2.5e-5, weight_decay=0.1, warmup=50),
)
