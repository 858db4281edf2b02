"""I-DLM: the noised copy is all masks, causal inside blocks that grow 1, 2, 3, ...; both copies predict the next token,
and the clean copy's loss is scaled to the noised one's."""

from __future__ import annotations

from ..objectives import Constant, NextToken, Objective, Ordered, PerWeight, Shifted
from .curriculum import Curve, Ramp
from .recipe import Optimiser, Recipe, Rows

BLOCK = 8

RECIPE = Recipe(
    paper="2604.11035 Introspective Diffusion Language Models",
    program=Objective(
        times=Constant(1.0),
        layout=Ordered(BLOCK, "place"),
        target=Shifted(),
        normaliser=PerWeight(),
        auxiliary=(NextToken(balance=True),),
    ),
    start="causal",
    shift=True,
    attention="causal",
    block=1,
    curriculum=(Curve(("layout.block",), Ramp(1, BLOCK, end=0.8)),),
    needs=("mask",),
    decodes_with="autoregressive",
    rows=Rows(pack=True),
    optimiser=Optimiser(lr=1e-5),
)
