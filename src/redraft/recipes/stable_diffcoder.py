"""Stable-DiffCoder: small blocks. In a warm-up the highest mask rate rises from almost none to one and no weight is used; from
then on rates are clipped at 1/B, every block has a mask and the weight is 1/rate. That a document of the warm-up has a mask
at all is ours: small batches would have none.
"""

from __future__ import annotations

from ..objectives import (
    AtLeastOne,
    Clipped,
    Flat,
    InverseRate,
    LowDiscrepancy,
    Objective,
    PerToken,
    TwoStream,
)
from .curriculum import Curve, Ramp, Steps
from .recipe import Optimiser, Recipe, Rows

BLOCK, WARM = 4, 0.1
DRAWN = LowDiscrepancy(BLOCK, low=0.0)
CLIPPED = Clipped(DRAWN, block=BLOCK)

RECIPE = Recipe(
    paper="2601.15892 Stable-DiffCoder: Pushing the Frontier of Code Diffusion Large Language Model",
    program=Objective(
        times=CLIPPED,
        masking=AtLeastOne(block=BLOCK),
        layout=TwoStream(BLOCK),
        weight=InverseRate(),
        normaliser=PerToken("answer"),
    ),
    start="causal",
    attention="block",
    block=BLOCK,
    curriculum=(
        Curve(("times",), Steps(((0.0, DRAWN), (WARM, CLIPPED)))),
        Curve(("times.high",), Ramp(1e-3, 1.0, end=WARM)),
        Curve(("masking",), Steps(((0.0, AtLeastOne()), (WARM, AtLeastOne(block=BLOCK))))),
        Curve(("weight",), Steps(((0.0, Flat()), (WARM, InverseRate())))),
    ),
    needs=("mask",),
    decodes_with="sdar(threshold=0.9)",
    rows=Rows(pack=True, align=BLOCK),
    optimiser=Optimiser(lr=3e-5),
)
