"""Stable-DiffCoder: small blocks; the highest mask rate rises from almost none to one while no weight is used; rates are
clipped at 1/B and every block has a mask, then the weight is 1/rate.
"""

from __future__ import annotations

from ..objectives import AtLeastOne, Clipped, Flat, InverseRate, LowDiscrepancy, Objective, PerToken, TwoStream
from .curriculum import Curve, Ramp, Steps
from .recipe import Optimiser, Recipe, Rows

BLOCK, WARM = 4, 0.1

RECIPE = Recipe(
    paper="2601.15892 Stable-DiffCoder: Pushing the Frontier of Code Diffusion Large Language Model",
    program=Objective(
        times=Clipped(LowDiscrepancy(BLOCK, low=0.0), block=BLOCK),
        masking=AtLeastOne(block=BLOCK),
        layout=TwoStream(BLOCK),
        weight=InverseRate(),
        normaliser=PerToken("answer"),
    ),
    start="causal",
    attention="block",
    block=BLOCK,
    curriculum=(
        Curve(("times.times.high",), Ramp(1e-3, 1.0, end=WARM)),
        Curve(("weight",), Steps(((0.0, Flat()), (WARM, InverseRate())))),
    ),
    needs=("mask",),
    decodes_with="sdar(threshold=0.9)",
    rows=Rows(pack=True, align=BLOCK),
    optimiser=Optimiser(lr=3e-5),
)
