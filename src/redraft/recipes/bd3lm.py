"""BD3-LM: block diffusion. The noised and the clean row side by side, so that one forward trains every block given the clean
ones before it; a time for each block, weight 1/t.

The clipped schedules of the paper are `times=LowDiscrepancy(BLOCK, low, high)` with the mask policy `Resampled(BLOCK, low,
high)`; with low above 1/2 its code drops the weight (`Flat`). The paper first trains MDLM, then blocks of 4, 8 or 16.
"""

from __future__ import annotations

from ..models.dit import DiTConfig
from ..objectives import Bound, LowDiscrepancy, Objective, PerToken, TwoStream
from .recipe import Optimiser, Recipe, Rows

BLOCK = 16

RECIPE = Recipe(
    paper="2503.09573 Block Diffusion: Interpolating Between Autoregressive and Diffusion Language Models",
    program=Objective(
        times=LowDiscrepancy(BLOCK, low=1e-3),
        layout=TwoStream(BLOCK),
        weight=Bound(),
        normaliser=PerToken("answer"),
    ),
    attention="block",
    block=BLOCK,
    needs=("mask",),
    decodes_with="sdar(threshold=0.9)",
    rows=Rows(context=512, pack=True, align=BLOCK),
    optimiser=Optimiser(lr=3e-4, betas=(0.9, 0.999), warmup=2500, decay=0.0),
    ema=0.9999,
    model=DiTConfig(vocab_size=768, hidden_size=192, num_layers=6, num_heads=6),
)
