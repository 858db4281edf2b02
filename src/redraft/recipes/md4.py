"""MD4: masked diffusion with any schedule, here the linear one the paper takes for text. The bound's constant (what is
masked already at t = 0, `objectives.bounds.unmasked_at_start`) has no gradient and is left out."""

from __future__ import annotations

from ..noise.absorbing import Absorbing
from ..noise.schedules import Polynomial
from ..objectives import Bound, LowDiscrepancy, Objective, PerDocument
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2406.04329 Simplified and Generalized Masked Diffusion for Discrete Data",
    program=Objective(
        noise=Absorbing(Polynomial(1.0, 1e-4)),
        times=LowDiscrepancy(low=0.0),
        weight=Bound(),
        normaliser=PerDocument(None),
    ),
    start="scratch",
    needs=("mask",),
    decodes_with="llada",
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=3e-4, warmup=2000),
    ema=0.9999,
)
