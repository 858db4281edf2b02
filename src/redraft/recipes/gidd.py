"""GIDD: noise that masks some tokens and replaces others, so that the model learns to mend its own errors; the bound's
divergence under bounded ("dynamic") weights, averaged over all tokens. Its own sampler has not landed: decoded like any
masked model, without taking tokens back."""

from __future__ import annotations

from ..noise.hybrid import Hybrid
from ..objectives import LowDiscrepancy, Objective, PerToken
from ..objectives.bounds import HybridBound
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2503.04482 Generalized Interpolating Discrete Diffusion",
    program=Objective(
        noise=Hybrid(p_uniform=0.1, gamma=1.0),
        times=LowDiscrepancy(low=1e-4, high=1.0 - 1e-4),
        term=HybridBound("dynamic"),
        normaliser=PerToken("answer"),
        supervise="answer",
    ),
    start="scratch",
    needs=("mask",),
    decodes_with="llada",
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=5e-4, warmup=10_000),
)
