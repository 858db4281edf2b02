"""TDAR: SDAR's training with blocks extended step by step, 4, 8, 16, each stage from the one before."""

from __future__ import annotations

import dataclasses

from ..objectives import Bound, LowDiscrepancy, Objective, PerToken, TwoStream
from .curriculum import Curve, Steps
from .recipe import Rows
from .sdar import RECIPE as SDAR

BLOCKS = (4, 8, 16)

RECIPE = dataclasses.replace(
    SDAR,
    paper="2602.09555 Advancing Block Diffusion Language Models for Test-Time Scaling",
    program=Objective(
        times=LowDiscrepancy(low=1e-3), layout=TwoStream(BLOCKS[-1]), weight=Bound(), normaliser=PerToken("answer")
    ),
    start="any",
    block=BLOCKS[-1],
    curriculum=(Curve(("layout",), Steps(tuple((i / len(BLOCKS), TwoStream(b)) for i, b in enumerate(BLOCKS)))),),
    rows=Rows(pack=True, align=BLOCKS[-1]),
)
