"""SDAR: an autoregressive checkpoint becomes a block diffusion model with BD3-LM's two streams, aligned.

One time a document, weight 1/t, small blocks (4); larger blocks come in fine-tuning (`tdar`). One end token is learned;
what fills its block is not (the sources do not say).
"""

from __future__ import annotations

from ..objectives import Bound, LowDiscrepancy, Objective, PerToken, TwoStream
from .recipe import Optimiser, Recipe, Rows

BLOCK = 4

RECIPE = Recipe(
    paper="2510.06303 SDAR: A Synergistic Diffusion-AutoRegression Paradigm for Scalable Sequence Generation",
    program=Objective(
        times=LowDiscrepancy(low=1e-3), layout=TwoStream(BLOCK), weight=Bound(), normaliser=PerToken("answer")
    ),
    start="causal",
    attention="block",
    block=BLOCK,
    needs=("mask",),
    decodes_with="sdar(threshold=0.9)",
    rows=Rows(pack=True, align=BLOCK),
    optimiser=Optimiser(lr=1e-5),
)
