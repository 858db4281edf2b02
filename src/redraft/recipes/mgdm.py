"""MGDM: 20 steps, shifted predictions (the first column by itself), hard tokens weighted up by a focal factor and late
steps down by T - t, over the number of masked tokens."""

from __future__ import annotations

from ..objectives import Objective, PerToken, Shifted, Uniform
from ..objectives.bounds import Focal
from ..objectives.reached import Discrete
from ..objectives.steps import StepWeight
from .recipe import Optimiser, Recipe

STEPS = 20

RECIPE = Recipe(
    paper="2410.14157 Beyond Autoregression: Discrete Diffusion for Complex Reasoning and Planning",
    program=Objective(
        times=Discrete(STEPS, Uniform(low=0.0)),
        target=Shifted("own"),
        term=Focal(0.25, 2.0),
        weight=StepWeight(STEPS, "remaining"),
        normaliser=PerToken(),
    ),
    start="scratch",
    shift=True,
    needs=("mask",),
    decodes_with="dream",
    optimiser=Optimiser(lr=3e-4),
)
