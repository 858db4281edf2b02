"""Mask policies that look at what was hit: shares drawn again, forced masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.draws import Draws
from .canvas import Canvas
from .masking import Bernoulli, Masking
from .policies import groups, standing, total


@dataclass(frozen=True)
class Resampled:
    """Blocks of which less than `low` or more than `high` was hit are drawn again (BD3-LM's clipped schedules,
    arXiv:2503.09573); at most `tries` times, since a rate far outside the bounds may never fall inside."""

    block: int
    low: float
    high: float
    inner: Masking = Bernoulli()
    tries: int = 1000

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        group = groups(canvas, self.block)
        whole = total(canvas.answer.float(), group) == self.block
        hit = self.inner.hits(canvas, rate, draws)
        for i in range(self.tries):
            share = total(hit.float(), group) / self.block
            outside = whole & ((share < self.low) | (share > self.high))
            if not bool(outside.any()):
                break
            again = (draws.column(canvas, f"mask.{i + 1}") < rate) & canvas.answer
            hit = torch.where(outside, again, hit)
        return hit


@dataclass(frozen=True)
class SomeInEachBlock:
    """Another policy, and in blocks that it missed a number of columns drawn from 1 to `block` (E2D2, arXiv:2510.22852).

    Only blocks that are all answer count as missed: context in a block is no reason to mask the rest of it.
    """

    block: int
    inner: Masking = Bernoulli()

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        hit = self.inner.hits(canvas, rate, draws)
        group = groups(canvas, self.block)
        busy = total((hit | ~canvas.answer).float(), group)
        if bool((busy > 0).all()):
            return hit
        number = (draws.block(canvas, "number", self.block) * self.block).long().clamp_max(self.block - 1)
        order = standing(draws.column(canvas, "forced"), canvas.answer, group)
        return hit | ((busy == 0) & canvas.answer & (order <= number))
