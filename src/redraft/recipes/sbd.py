"""SBD, set block decoding: one model learns the next token on a causal clean stream and, on a noised copy, masked tokens
of a block of random size that is bidirectional inside, aligned; both losses added. Every micro-batch draws one
size. Decoded as
the paper does it, by sets of bounded entropy."""

from __future__ import annotations

from ..objectives import AtLeastOne, LowDiscrepancy, Mixture, NextToken, Objective, PerToken, TwoStream
from .recipe import Optimiser, Recipe, Rows

BLOCKS = (2, 4, 8, 16)


def sized(block: int) -> Objective:
    return Objective(
        times=LowDiscrepancy(block, low=1e-3),
        masking=AtLeastOne(),
        layout=TwoStream(block, causal=True),
        normaliser=PerToken(),
        auxiliary=(NextToken(),),
    )


RECIPE = Recipe(
    paper="2509.04185 Set Block Decoding is a Language Model Inference Accelerator",
    program=Mixture(tuple((1.0, sized(block)) for block in BLOCKS)),
    start="causal",
    attention="causal",
    block=BLOCKS[-1],
    needs=("mask",),
    decodes_with="sdar(strategy='entropy_bounded', bound=0.35)",
    rows=Rows(pack=True),
    optimiser=Optimiser(lr=3e-5),
)
