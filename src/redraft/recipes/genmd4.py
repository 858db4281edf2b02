"""GenMD4: MD4 whose masking schedule is learned, one exponent for every token of the vocabulary, by the loss and, through
what is masked, by a leave-one-out estimate from two noisings."""

from __future__ import annotations

from ..objectives import LowDiscrepancy
from ..objectives.learned import LearnedSchedule
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2406.04329 Simplified and Generalized Masked Diffusion for Discrete Data",
    program=LearnedSchedule(times=LowDiscrepancy(low=1e-3)),
    start="scratch",
    needs=("mask", "two_forwards", "networks"),
    decodes_with="llada",
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=3e-4, warmup=2000),
    ema=0.9999,
)
