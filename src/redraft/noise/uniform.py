"""Uniform noise: a token becomes any token of the vocabulary, itself included (UDLM, arXiv:2412.10193; Duo,
2506.10892)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.draws import Draws, Places
from ..core.traits import Traits
from .schedules import Linear, Schedule, weight


def random_tokens(uniform: Tensor, vocab: int, without: int | None = None) -> Tensor:
    """int64 ids from uniform numbers; never `without`."""
    if without is None:
        return (uniform.double() * vocab).long().clamp_max(vocab - 1)
    ids = (uniform.double() * (vocab - 1)).long().clamp_max(vocab - 2)
    return ids + (ids >= without)


@dataclass(frozen=True)
class Uniform:
    """A column is redrawn with probability 1 - alpha(t); the mask token, where there is one, is never drawn."""

    schedule: Schedule = Linear()

    def rate(self, t: Tensor) -> Tensor:
        return 1.0 - self.schedule.alpha(t)

    def weight(self, t: Tensor) -> Tensor:
        return weight(self.schedule, t)

    def fill(self, canvas: Places, tokens: Tensor, hit: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        return torch.where(hit, random_tokens(draws.column(canvas, "token"), traits.vocab, traits.mask), tokens)
