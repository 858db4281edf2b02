"""Eso-LM (variant B): half of the rows learn diffusion down to a share alpha_0 of known tokens, in causal order of the
masks; the other half to write the rest from left to right; one network, whose keys and values can be kept throughout.
Its own sampler has not landed."""

from __future__ import annotations

from ..noise.absorbing import Absorbing
from ..noise.schedules import Capped, Linear
from ..objectives import Bound, Constant, LowDiscrepancy, Objective, PerToken
from ..objectives.programs import Split
from ..objectives.topological import Topological, TopologicalPair
from .recipe import Optimiser, Recipe, Rows

ALPHA = 0.25

RECIPE = Recipe(
    paper="2506.01928 Esoteric Language Models",
    program=Split(
        0.5,
        Objective(
            noise=Absorbing(Capped(Linear(1e-3), ALPHA)),
            times=LowDiscrepancy(),
            layout=Topological("causal", "all"),
            weight=Bound(),
            normaliser=PerToken("answer"),
        ),
        Objective(
            times=Constant(1.0 - ALPHA),
            layout=TopologicalPair(prefix=False, shuffled="known"),
            normaliser=PerToken("answer"),
        ),
    ),
    start="scratch",
    needs=("mask",),
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=3e-4, warmup=2500),
    ema=0.9999,
)
