"""redraft-tiny-ar: the autoregressive twin of the model in the box: the same shape, data, steps and rates, trained on the
next token, so that every claim about diffusion has a control."""

from __future__ import annotations

import dataclasses

from ..noise.absorbing import Clean
from ..objectives import Causal, Objective, Shifted
from .redraft_tiny import RECIPE as TINY

RECIPE = dataclasses.replace(
    TINY,
    paper="the autoregressive control of the model in the box",
    program=Objective(noise=Clean(), layout=Causal(), target=Shifted()),
    shift=True,
    attention="causal",
    block=1,
    needs=(),
    decodes_with="autoregressive",
)
