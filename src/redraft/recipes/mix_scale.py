"""mix_scale, of Diffusion in Diffusion: every micro-batch draws its block size, from small ones to the whole canvas, so that
one network drafts in blocks and refines the whole. The shares are ours."""

from __future__ import annotations

from ..objectives import Bound, Full, Layout, LowDiscrepancy, Mixture, Objective, PerToken, TwoStream
from .recipe import Optimiser, Recipe

BLOCK = 4


def scaled(layout: Layout, block: int) -> Objective:
    return Objective(
        times=LowDiscrepancy(block, low=1e-3), layout=layout, weight=Bound(), normaliser=PerToken("answer")
    )


RECIPE = Recipe(
    paper="2601.13599 Diffusion In Diffusion: Reclaiming Global Coherence in Semi-Autoregressive Diffusion",
    program=Mixture(
        (
            (0.4, scaled(TwoStream(BLOCK), BLOCK)),
            (0.2, scaled(TwoStream(16), 16)),
            (0.2, scaled(TwoStream(64), 64)),
            (0.2, scaled(Full(), 0)),
        )
    ),
    attention="block",
    block=BLOCK,
    needs=("mask",),
    decodes_with="sdar(threshold=0.9)",
    optimiser=Optimiser(lr=3e-4),
)
