"""Absorbing noise: a token becomes the mask token and stays it (MDLM, arXiv:2406.07524; LLaDA, 2502.09992).

The same object is the blank canvas of decoding: at t = 1 every open column holds the mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.draws import Draws, Places
from ..core.errors import BadInput
from ..core.traits import Traits
from .schedules import Linear, Schedule, rate, weight


def mask_of(traits: Traits) -> int:
    """The mask token's id; BadInput where the model has none."""
    if traits.mask is None:
        raise BadInput("absorbing noise needs a model with a mask token, found none; adapt the model to get one.")
    return traits.mask


@dataclass(frozen=True)
class Absorbing:
    """A column is masked with probability 1 - alpha(t)."""

    schedule: Schedule = Linear()

    def rate(self, t: Tensor) -> Tensor:
        return rate(self.schedule, t)

    def weight(self, t: Tensor) -> Tensor:
        return weight(self.schedule, t)

    def fill(self, canvas: Places, tokens: Tensor, hit: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        return torch.where(hit, mask_of(traits), tokens)


@dataclass(frozen=True)
class Clean:
    """No noise: autoregressive training. Every answer column counts as hit, none is changed."""

    def rate(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def weight(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def fill(self, canvas: Places, tokens: Tensor, hit: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        return tokens
