"""NBDiff: autoregression is block diffusion with blocks of one token, so blocks grow from there, 1, 2, 4, ..., 32.

The context stays causal and only the open block is bidirectional; a block's first token is predicted by the clean row
before it, so that at block 1 loss and logits are the autoregressive model's. The clean stream is trained on the next
token too. Decoding, as the authors' does, commits a block's first token before the others.
"""

from __future__ import annotations

from ..objectives import AtLeastOne, LowDiscrepancy, NextToken, Objective, PerWeight, Shifted, TwoStream
from .curriculum import Curve, Doubling
from .recipe import Optimiser, Recipe, Rows

BLOCK = 32

RECIPE = Recipe(
    paper="2512.06776 From Next-Token to Next-Block: A Principled Adaptation Path for Diffusion LLMs",
    program=Objective(
        times=LowDiscrepancy(BLOCK, low=1e-3),
        masking=AtLeastOne(block=BLOCK),
        layout=TwoStream(BLOCK, causal=True, bridge=True),
        target=Shifted(),
        normaliser=PerWeight(),
        auxiliary=(NextToken(),),
    ),
    start="causal",
    shift=True,
    attention="causal",
    block=BLOCK,
    curriculum=(Curve(("layout.block", "times.block", "masking.block"), Doubling(1, BLOCK, end=0.6)),),
    needs=("mask",),
    decodes_with="fast_dllm_v2(threshold=0.9)",
    rows=Rows(pack=True, align=BLOCK),
    optimiser=Optimiser(lr=1e-5),
)
