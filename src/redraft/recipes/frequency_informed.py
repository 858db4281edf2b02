"""Frequency-informed masking (arXiv:2509.05056, BabyLM): rare tokens are masked more often, by a power of their rank that
is ramped up during the run; MDLM's bound with a cosine schedule. The token counts are an input of the run."""

from __future__ import annotations

from ..noise.absorbing import Absorbing
from ..noise.schedules import Cosine
from ..objectives import Bound, LowDiscrepancy, Objective, PerToken
from ..objectives.frequency import RareFirst
from .curriculum import Curve, Ramp
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2509.05056 Masked Diffusion Language Models with Frequency-Informed Training",
    program=Objective(
        noise=Absorbing(Cosine(eps=1e-4)),
        times=LowDiscrepancy(low=1e-3),
        masking=RareFirst(power=0.02),
        weight=Bound(),
        normaliser=PerToken("answer"),
    ),
    curriculum=(Curve(("masking.power",), Ramp(0.0, 0.02)),),
    needs=("mask", "token_counts"),
    decodes_with="llada",
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=3e-4, weight_decay=0.1),
    ema=0.999,
)
