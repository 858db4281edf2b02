"""RDM: absorbing diffusion in 50 steps as plain cross entropy on what is noise, weighted 1 - t / T, on pairs of nested
noisings; label smoothing that takes no time weight."""

from __future__ import annotations

from ..objectives import CrossEntropy, Objective, PerDocument, Uniform
from ..objectives.reached import Discrete
from ..objectives.steps import Nested, Smoothing, StepWeight
from .recipe import Optimiser, Recipe

STEPS, SMOOTHING = 50, 0.1

RECIPE = Recipe(
    paper="2302.05737 A Reparameterized Discrete Diffusion Model for Text Generation",
    program=Objective(
        times=Discrete(STEPS, Uniform(low=0.0)),
        term=CrossEntropy(subs=False),
        weight=StepWeight(STEPS, "share"),
        normaliser=PerDocument("answer"),
        auxiliary=(Smoothing(SMOOTHING),),
        replicas=Nested(),
        share=1.0 - SMOOTHING,
    ),
    needs=("mask",),
    decodes_with="llada",
    optimiser=Optimiser(lr=5e-4, warmup=1000),
)
