"""Times that are clipped, or drawn from a Beta distribution whose mean a curriculum may move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..core.draws import Draws
from .canvas import Canvas
from .times import LowDiscrepancy, Times


@dataclass(frozen=True)
class Clipped:
    """Other times, moved into [low, high]: min(high, max(t, low)) (Stable-DiffCoder's clipped rates, arXiv:2601.15892).

    block   where above 0, low is at least 1 / block: one mask a block is expected
    """

    times: Times = LowDiscrepancy()
    low: float = 0.0
    high: float = 1.0
    block: int = 0

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        low = max(self.low, 1.0 / self.block) if self.block else self.low
        return self.times.draw(canvas, draws).clamp(low, self.high)


@lru_cache(maxsize=64)
def beta_table(a: float, b: float, cells: int = 4096) -> tuple[Tensor, Tensor]:
    """x and P(Beta(a, b) <= x) at `cells` + 1 points, float64; midpoint rule in theta, x = sin^2 theta, which takes away
    the poles at 0 and 1 for a, b >= 1/2."""
    theta = torch.linspace(0.0, math.pi / 2, cells + 1, dtype=torch.float64)
    middle = (theta[1:] + theta[:-1]) / 2
    mass = middle.sin() ** (2 * a - 1) * middle.cos() ** (2 * b - 1)
    below = torch.cat((torch.zeros(1, dtype=torch.float64), mass.cumsum(0)))
    return theta.sin() ** 2, below / below[-1]


@dataclass(frozen=True)
class Beta:
    """Beta times with mean `mean` and concentration a + b, one a document or for every `block` places (SDAR-VL's
    progressive Beta curriculum, arXiv:2512.14068: `mean` rises, the concentration stays; mean 1/2 and concentration 2
    are uniform)."""

    mean: float = 0.5
    concentration: float = 2.0
    block: int = 0
    low: float = 1e-3

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        u = draws.block(canvas, "time", self.block) if self.block else draws.document(canvas, "time")
        x, below = (
            part.to(u.device)
            for part in beta_table(self.mean * self.concentration, (1.0 - self.mean) * self.concentration)
        )
        place = torch.searchsorted(below, u.double().contiguous()).clamp(1, len(x) - 1)
        left, right = below[place - 1], below[place]
        share = ((u - left) / (right - left).clamp_min(1e-300)).clamp(0.0, 1.0)
        return torch.lerp(x[place - 1], x[place], share).float().clamp_min(self.low)
