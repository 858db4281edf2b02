"""Diffusion of Thought (arXiv:2402.07754): the source is never noised; rationale and answer are, as a whole or from a
thought on; scheduled sampling, and now and then the thought before is noised too (coupled sampling)."""

from __future__ import annotations

from ..objectives import Bound, Objective, PerDocument
from ..objectives.scheduled import ScheduledSampling, Thoughts
from .curriculum import Curve, Ramp
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2402.07754 Diffusion of Thoughts: Chain-of-Thought Reasoning in Diffusion Language Models",
    program=ScheduledSampling(
        Objective(masking=Thoughts(whole=0.5, glance=0.1, tail=8), weight=Bound(), normaliser=PerDocument("answer")),
        own=0.05,
    ),
    # the probability of the true tokens falls from 1 to 0.95 over the run
    curriculum=(Curve(("own",), Ramp(0.0, 0.05)),),
    needs=("mask", "two_forwards"),
    decodes_with="llada",
    rows=Rows(context=256),
    optimiser=Optimiser(lr=3e-4, warmup=100),
)
