"""One Token Is Enough (arXiv:2601.19657): a masked diffusion model from scratch (SMDM's loss) with one more token that sees
only itself and that all see. No decoder with a sink has landed yet."""

from __future__ import annotations

from ..objectives import InverseRate, Objective, PerToken
from ..objectives.sink import SinkToken
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2601.19657 One Token Is Enough: Improving Diffusion Language Models with a Sink Token",
    program=SinkToken(Objective(weight=InverseRate(), normaliser=PerToken("answer"))),
    needs=("mask",),
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=2e-4, weight_decay=0.1, betas=(0.9, 0.95)),
)
