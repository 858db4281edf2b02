"""autoregressive: the next token from those before it; the control of every claim about diffusion."""

from __future__ import annotations

from ..noise.absorbing import Clean
from ..objectives import Causal, Objective, PerWeight, Shifted
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="ordinary next-token training",
    program=Objective(noise=Clean(), layout=Causal(), target=Shifted(), normaliser=PerWeight()),
    shift=True,
    attention="causal",
    block=1,
    decodes_with="autoregressive",
    rows=Rows(pack=True),
    optimiser=Optimiser(lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1),
)
