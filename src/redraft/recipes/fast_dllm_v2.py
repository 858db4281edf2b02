"""Fast-dLLM v2: two streams in blocks of 32, every row with a mask and with its complement, shifted predictions.

One time a block; mean cross entropy over the masked tokens of both copies. A block's first token is predicted, as in
the authors' code, by the noised row before it, which belongs to the block before. Answers are filled up to whole blocks with masks that have no loss.
"""

from __future__ import annotations

from ..objectives import Complementary, LowDiscrepancy, Objective, PerWeight, Shifted, TwoStream
from .recipe import Optimiser, Recipe, Rows

BLOCK = 32

RECIPE = Recipe(
    paper="2509.26328 Fast-dLLM v2: Efficient Block-Diffusion LLM",
    program=Objective(
        times=LowDiscrepancy(BLOCK, low=1e-3),
        layout=TwoStream(BLOCK),
        target=Shifted(),
        normaliser=PerWeight(),
        replicas=Complementary(),
    ),
    start="causal",
    shift=True,
    attention="block",
    block=BLOCK,
    needs=("mask",),
    decodes_with="fast_dllm_v2(threshold=0.9)",
    rows=Rows(pack=True, align=BLOCK),
    optimiser=Optimiser(lr=2e-5),
)
