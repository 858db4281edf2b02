"""Dream: an autoregressive checkpoint keeps its shifted predictions and gets full attention at once. Masked tokens weigh more
the nearer their context (CART, in place of 1/t); the sum is divided by the number of masked tokens that are predicted.

Every document's first token is masked like the others and, having no row before it, neither learned nor counted.
"""

from __future__ import annotations

from ..objectives import CrossEntropy, Objective, PerToken, Shifted
from ..objectives.reweight import Cart
from ..objectives.times import Uniform
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2508.15487 Dream 7B: Diffusion Large Language Models",
    program=Objective(
        times=Uniform(low=1e-3),
        target=Shifted(),
        term=CrossEntropy(subs=False),
        weight=Cart(0.8),
        normaliser=PerToken("learned"),
    ),
    start="causal",
    shift=True,
    needs=("mask",),
    decodes_with="dream",
    rows=Rows(pack=True, end="all"),
    optimiser=Optimiser(lr=1e-5),
)
