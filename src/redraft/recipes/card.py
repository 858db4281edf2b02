"""CARD: causal attention, and every token is predicted from the noised tokens before it. Masks fall in the tail; a token
counts less the more of its nearest context is masked.

The weight's constants are ours (1 / (1 + sum of 0.5^distance)); the sources give its form only.
"""

from __future__ import annotations

from ..objectives import Causal, CleanContext, LowDiscrepancy, Objective, PerToken, Shifted, SoftTail
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2601.22031 Causal Autoregressive Diffusion Language Model",
    program=Objective(
        times=LowDiscrepancy(low=0.0),
        masking=SoftTail(1.5),
        layout=Causal(),
        target=Shifted(),
        weight=CleanContext(base=1.0, decay=0.5),
        normaliser=PerToken("answer"),
        supervise="answer",
    ),
    shift=True,
    attention="causal",
    block=1,
    needs=("mask",),
    decodes_with="autoregressive",
    rows=Rows(pack=True),
    optimiser=Optimiser(lr=3e-4),
)
