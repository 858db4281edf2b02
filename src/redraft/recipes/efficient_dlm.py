"""Efficient-DLM: blocks of 16 on clean context, no shift, and masks that fall later in the block the fewer there are.

Exact counts by Gumbel noise, as NeMo Automodel does it; loss 1/t over all answer tokens.
"""

from __future__ import annotations

from ..objectives import InverseRate, LaterCount, LowDiscrepancy, Objective, PerToken, TwoStream
from .recipe import Optimiser, Recipe, Rows

BLOCK = 16

RECIPE = Recipe(
    paper="2512.14067 Efficient-DLM: From Autoregressive to Diffusion Language Models, and Beyond in Speed",
    program=Objective(
        times=LowDiscrepancy(BLOCK, low=1e-3),
        masking=LaterCount(BLOCK, half_life=0.25),
        layout=TwoStream(BLOCK),
        weight=InverseRate(),
        normaliser=PerToken("answer"),
    ),
    start="causal",
    attention="block",
    block=BLOCK,
    needs=("mask",),
    decodes_with="sdar(threshold=0.9)",
    rows=Rows(pack=True, align=BLOCK),
    optimiser=Optimiser(lr=1e-5),
)
