"""Mask-agnostic fine-tuning (Masks Can Be Distracting, arXiv:2511.21338): one noised row with two numbers of masks behind
it, LLaDA's fine-tuning loss on both, and the total variation between the two predictions."""

from __future__ import annotations

from ..objectives import CrossEntropy, InverseRate, Objective, PerDocument
from ..objectives.agnostic import MaskAgnostic
from ..objectives.times import Uniform
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2511.21338 Masks Can Be Distracting: On Context Comprehension in Diffusion Language Models",
    program=MaskAgnostic(
        Objective(
            times=Uniform(low=1e-3),
            term=CrossEntropy(subs=False),
            weight=InverseRate(),
            normaliser=PerDocument("answer"),
        ),
        share=1.0,
        most=64,
    ),
    needs=("mask", "two_forwards"),
    decodes_with="llada",
    rows=Rows(context=512),
    optimiser=Optimiser(lr=1e-5, betas=(0.9, 0.999)),
)
