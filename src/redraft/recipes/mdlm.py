"""MDLM: masked diffusion from scratch with full attention. The likelihood bound is cross entropy over t at the masked
tokens, summed and divided by the number of tokens; times are spread evenly over the documents.

Ancestral sampling has not landed: decoded like any masked model. The paper trains a DiT of 12 layers on rows of 1024 for
a million steps of 512.
"""

from __future__ import annotations

from ..models.dit import DiTConfig
from ..noise.absorbing import Absorbing
from ..noise.schedules import Linear
from ..objectives import Bound, LowDiscrepancy, Objective, PerToken
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2406.07524 Simple and Effective Masked Diffusion Language Models",
    program=Objective(
        noise=Absorbing(Linear(1e-3)),
        times=LowDiscrepancy(low=1e-3),
        weight=Bound(),
        normaliser=PerToken("answer"),
    ),
    start="scratch",
    needs=("mask",),
    decodes_with="llada",
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=3e-4, betas=(0.9, 0.999), warmup=2500, decay=0.0),
    ema=0.9999,
    model=DiTConfig(vocab_size=768, hidden_size=192, num_layers=6, num_heads=6),
)
