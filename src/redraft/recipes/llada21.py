"""LLaDA2.1: LLaDA2's blocks, and some visible tokens are wrong ones, so that decoding may overwrite what it committed.

Mean cross entropy over the whole answer: masks to be filled, wrong tokens to be changed, right ones to be kept (if only
wrong ones were learned, the model would learn that what it sees is always wrong). The share of wrong tokens (0.1) is
ours; the report gives none. The end tokens behind an answer are learned, as in `llada2`.
"""

from __future__ import annotations

from ..noise.edits import TokenEdits
from ..objectives import AtLeastOne, LowDiscrepancy, Objective, PerToken, TwoStream
from .recipe import Optimiser, Recipe, Rows

BLOCK = 32

RECIPE = Recipe(
    paper="2602.08676 LLaDA2.1: Speeding Up Text Diffusion via Token Editing",
    program=Objective(
        noise=TokenEdits(0.1),
        times=LowDiscrepancy(low=1e-3),
        masking=AtLeastOne(),
        layout=TwoStream(BLOCK),
        normaliser=PerToken(),
        supervise="answer",
    ),
    attention="block",
    block=BLOCK,
    edits=True,
    needs=("mask",),
    decodes_with="llada21",
    rows=Rows(pack=True, end="all", align=BLOCK),
    optimiser=Optimiser(lr=1e-5, weight_decay=0.1),
)
