"""WeDLM: masked tokens under plain causal attention: in a block of the noised stream visible tokens come first and masked
ones last, at their own positions; the clean stream is causal and learns the next token.

Exact mask counts round(rate x n) in each block; (L_m + L_ar) / 2, L_m the mean of aligned cross entropies weighted by
1/rate. The eight repeated end tokens that its authors put behind every answer and learn are left out: one is learned.
"""

from __future__ import annotations

from ..objectives import ExactCount, InverseRate, LowDiscrepancy, NextToken, Objective, Ordered, PerWeight
from .recipe import Optimiser, Recipe, Rows

BLOCK = 32

RECIPE = Recipe(
    paper="2512.22737 WeDLM: Reconciling Diffusion Language Models with Standard Causal Attention for Fast Inference",
    program=Objective(
        times=LowDiscrepancy(BLOCK, low=0.0),
        masking=ExactCount(BLOCK),
        layout=Ordered(BLOCK, "observed"),
        weight=InverseRate(1e-8),
        normaliser=PerWeight(),
        auxiliary=(NextToken(0.5),),
        share=0.5,
    ),
    start="causal",
    shift=True,
    attention="causal",
    block=1,
    needs=("mask",),
    decodes_with="autoregressive",
    rows=Rows(pack=True),
    optimiser=Optimiser(lr=3e-6),
)
