"""LLaDA: masked diffusion with full attention at scale. One time a row; cross entropy over the masked tokens by their
probability of being masked, divided by the number of tokens. The mask keeps its place among the answers (no SUBS).

Of the paper's recipe the random lengths of one batch in a hundred are left out.
"""

from __future__ import annotations

from ..objectives import CrossEntropy, InverseRate, Objective, PerToken
from ..objectives.times import Uniform
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2502.09992 Large Language Diffusion Models",
    program=Objective(
        times=Uniform(low=1e-3),
        term=CrossEntropy(subs=False),
        weight=InverseRate(),
        normaliser=PerToken("answer"),
    ),
    start="scratch",
    needs=("mask",),
    decodes_with="llada",
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=4e-4, weight_decay=0.1, warmup=2000),
)
