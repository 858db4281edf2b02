"""Context-adaptive token reweighting as Dream and dllm have it, before and after dllm's issue 92."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ...noise.absorbing import Absorbing
from ...objectives import Noised
from ...objectives.reweight import Cart
from ..conform_train import TrainCase
from ._recorded import rows


def train(case: TrainCase) -> dict[str, Tensor]:
    masked = case.take("masked")
    canvas = rows(torch.zeros(masked.shape, dtype=torch.int64))
    time = torch.full(masked.shape, 0.5)
    noised, noise = Noised(canvas.tokens, masked, time, time), Absorbing()
    column = torch.arange(masked.shape[1])
    out = {}
    for name in case.rest():
        found = re.fullmatch(r"(dllm|dream|head|old|matrix)_p(0)?[._](\d+)", name)
        if found is None:
            continue
        cart = Cart(float(f"0.{found[3]}"), late=found[1] == "old")
        matrix = found[1] == "matrix"
        out[name] = cart.geometric((column[None] - column[:, None]).abs()) if matrix else cart.of(canvas, noised, noise)
    return out
