"""SDLM, next-sequence prediction: behind a causal clean stream stand groups [token at a, mask, mask, mask]; each sees the
clean tokens before a and itself, and predicts the places a + 1 to a + 4. The first output is the next-token one.

Mean cross entropy over all group outputs; groups start at random places, so that a token is predicted about twice. The
clean stream has no loss of its own, so next-token decoding, which reads it, is not what was trained.
"""

from __future__ import annotations

from ..objectives import Constant, Objective, PerWeight
from ..objectives.groups import Groups
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2509.24007 Sequential Diffusion Language Models",
    program=Objective(times=Constant(1.0), layout=Groups(4, repeat=2), normaliser=PerWeight()),
    start="causal",
    shift=True,
    attention="causal",
    block=1,
    needs=("mask",),
    rows=Rows(pack=True),
    optimiser=Optimiser(lr=5e-6, weight_decay=0.01),
)
