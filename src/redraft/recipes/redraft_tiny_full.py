"""redraft-tiny-full: the model in the box with full attention (MDLM, arXiv:2406.07524; LLaDA, 2502.09992): the same shape,
data, steps and rates as redraft-tiny, so that what blocks do has a control."""

from __future__ import annotations

import dataclasses

from ..objectives import AtLeastOne, Full, Mixture, Objective, Window
from .redraft_tiny import RECIPE as TINY

_WINDOWS = AtLeastOne(Window((1, 2, 4, 8, 16, 32, 64)))

RECIPE = dataclasses.replace(
    TINY,
    paper="2502.09992 LLaDA, as trained for the full-attention model in the box",
    program=Mixture(
        (
            (0.15, Objective(masking=_WINDOWS, layout=Full())),
            (0.85, Objective(masking=AtLeastOne(), layout=Full())),
        )
    ),
    attention="full",
    block=0,
    decodes_with="llada(steps=32)",
)
