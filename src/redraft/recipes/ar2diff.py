"""AR2Diff: an autoregressive checkpoint trained on as a masked denoiser; the prefix and the target see everything.

Mask rate uniform, plain cross entropy on what was masked (our reading of the abstract).
"""

from __future__ import annotations

from ..objectives import AtLeastOne, Full, Objective, PerToken
from .recipe import Optimiser, Recipe

RECIPE = Recipe(
    paper="2401.17181 Transfer Learning for Text Diffusion Models",
    program=Objective(masking=AtLeastOne(), layout=Full(), normaliser=PerToken()),
    start="causal",
    attention="full",
    needs=("mask",),
    decodes_with="llada",
    optimiser=Optimiser(lr=1e-4),
)
