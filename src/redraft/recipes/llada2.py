"""LLaDA2.0: the block grows, the model is a full diffusion model for most of the run, the block shrinks to 32 again.

Warm-up, stable, decay of the block size: 1, 4, 32, 64, ..., everything, ..., 64, 32. In between nothing is clean but the
prompt (one stream). Rates of 0.3 to 0.8 a document, each row with its mask and the complement, mean cross entropy of
masked tokens, aligned; at the end the confidence loss (CAP) makes right predictions certain.

The end tokens behind an answer are learned, as the authors' trainer (dFactory) does it.
"""

from __future__ import annotations

from ..objectives import AtLeastOne, Certainty, Complementary, Full, LowDiscrepancy, Objective, PerToken, TwoStream
from .curriculum import Curve, Steps
from .recipe import Optimiser, Recipe, Rows

BLOCK = 32
LAYOUTS = (
    *((0.03 * i, TwoStream(block)) for i, block in enumerate((1, 4, 32, 64))),
    (0.12, Full()),
    *((0.80 + 0.03 * i, TwoStream(block)) for i, block in enumerate((256, 128, 64, BLOCK))),
)

RECIPE = Recipe(
    paper="2512.15745 LLaDA2.0: Scaling Up Diffusion Language Models to 100B",
    program=Objective(
        times=LowDiscrepancy(low=0.3, high=0.8),
        masking=AtLeastOne(),
        layout=TwoStream(BLOCK),
        normaliser=PerToken(),
        replicas=Complementary(),
    ),
    start="causal",
    attention="block",
    block=BLOCK,
    curriculum=(
        Curve(("layout",), Steps(LAYOUTS)),
        Curve(("auxiliary",), Steps(((0.0, ()), (0.95, (Certainty(),))))),
    ),
    needs=("mask",),
    decodes_with="llada2",
    rows=Rows(pack=True, end="all", align=BLOCK),
    optimiser=Optimiser(lr=1e-5, weight_decay=0.1),
)
