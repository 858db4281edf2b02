"""Mask policies: which columns are hit, given each column's rate. All give (B, T) bool inside canvas.answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..core.draws import Draws
from .canvas import Canvas


class Masking(Protocol):
    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        """(B, T) bool columns to noise, from rates (B, T)."""
        ...


@dataclass(frozen=True)
class Bernoulli:
    """Every answer column by itself, at its rate."""

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        return (draws.column(canvas, "mask") < rate) & canvas.answer


@dataclass(frozen=True)
class Window:
    """As decoding block by block leaves the canvas: known before a window, at the drawn rate in it, all hit behind it.

    The window's length is one of `sizes`, its start anywhere in the answer.
    """

    sizes: tuple[int, ...]

    def rates(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        """(B, T) the rates that this policy makes of them."""
        count = canvas.total(canvas.answer.long())
        far = 1 << 30
        first = torch.where(canvas.answer, canvas.place, far)
        opening = -canvas.largest(-first)
        start = opening + (draws.document(canvas, "start") * count).long()
        index = (draws.document(canvas, "size") * len(self.sizes)).long()
        size = torch.tensor(self.sizes, device=rate.device)[index.clamp_max(len(self.sizes) - 1)]
        inside = (canvas.place >= start) & (canvas.place < start + size)
        return torch.where(inside, rate, (canvas.place >= start + size).to(rate.dtype))

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        rate = self.rates(canvas, rate, draws)
        return (draws.column(canvas, "mask") < rate) & canvas.answer


@dataclass(frozen=True)
class AtLeastOne:
    """Another policy, and where a document (or a block of it) was missed, the column with the smallest number.

    block   0: one a document; else one in every `block` places that hold answer columns
    """

    inner: Masking = Bernoulli()
    block: int = 0

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        hit = self.inner.hits(canvas, rate, draws)
        narrowed = getattr(self.inner, "rates", None)  # a policy that keeps some columns known says which
        rate = rate if narrowed is None else narrowed(canvas, rate, draws)
        open_ = canvas.answer & (rate > 0)
        chance = torch.where(open_, draws.column(canvas, "mask"), 2.0)
        group = canvas.document
        if self.block:
            group = group * (int(canvas.place.max()) // self.block + 1) + canvas.place // self.block
        size = int(group.max()) + 1
        least = torch.full((len(hit), size), 2.0, device=rate.device)
        least = least.scatter_reduce(1, group, chance, "amin").gather(1, group)
        taken = torch.zeros(len(hit), size, device=rate.device).scatter_add(1, group, hit.float()).gather(1, group)
        return hit | ((taken == 0) & open_ & (chance == least))
