"""LoMDM (arXiv:2602.02112): the order of masking is learned with the denoiser: a velocity for each place from the sentence,
a reverse rate from the noised one. Decoding follows the learned rates: no such method has landed, and in another order
the denoiser meets canvases it was never trained on."""

from __future__ import annotations

from ..objectives.hazards import LearnedOrder
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2602.02112 Unifying Masked Diffusion Models with Various Generation Orders and Beyond",
    program=LearnedOrder(),
    start="scratch",
    needs=("mask", "two_forwards", "networks"),
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=3e-4, warmup=100),
    ema=0.9999,
)
