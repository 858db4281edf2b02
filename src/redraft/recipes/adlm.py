"""ADLM (arXiv:2505.18456): an anchor network names the important (rare) tokens of the sentence, the denoiser reads its soft
predictions; MDLM's bound and a small loss of the anchors. Decoding needs both networks: no such method has landed."""

from __future__ import annotations

from ..objectives import Bound, Objective, PerToken
from ..objectives.anchored import Anchored
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2505.18456 Anchored Diffusion Language Model",
    program=Anchored(Objective(weight=Bound(), normaliser=PerToken("answer")), share=3e-3, most=2),
    start="scratch",
    needs=("mask", "two_forwards", "networks"),
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=3e-4, warmup=100),
    ema=0.9999,
)
