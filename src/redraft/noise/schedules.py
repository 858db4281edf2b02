"""Noise schedules: alpha(t), the probability that a token is still itself at time t in [0, 1], falling from 1 to 0.

All take and give tensors of any shape. `weight` is -alpha'(t) / (1 - alpha(t)), a noised token's share in the
likelihood bound (MDLM, arXiv:2406.07524; MD4, 2406.04329).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Schedule(Protocol):
    def alpha(self, t: Tensor) -> Tensor: ...

    def slope(self, t: Tensor) -> Tensor:
        """alpha'(t), negative."""
        ...


def weight(schedule: Schedule, t: Tensor) -> Tensor:
    """-alpha'(t) / (1 - alpha(t))."""
    return -schedule.slope(t) / (1.0 - schedule.alpha(t)).clamp_min(1e-12)


@dataclass(frozen=True)
class Linear:
    """alpha = 1 - (1 - eps) t; with eps = 1e-3 MDLM's log-linear schedule. The weight is 1 / t whatever eps."""

    eps: float = 0.0

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - (1.0 - self.eps) * t

    def slope(self, t: Tensor) -> Tensor:
        return (t * 0.0) - (1.0 - self.eps)


@dataclass(frozen=True)
class Cosine:
    """MD4's alpha = 1 - cos(pi/2 (1 - t)), squeezed by eps at both ends."""

    eps: float = 0.0

    def alpha(self, t: Tensor) -> Tensor:
        return (1.0 - 2 * self.eps) * (1.0 - (math.pi / 2 * (1.0 - t)).cos()) + self.eps

    def slope(self, t: Tensor) -> Tensor:
        return -(1.0 - 2 * self.eps) * (math.pi / 2) * (math.pi / 2 * (1.0 - t)).sin()


@dataclass(frozen=True)
class Polynomial:
    """MD4's alpha = 1 - t^k, squeezed by eps at both ends."""

    power: float = 2.0
    eps: float = 0.0

    def alpha(self, t: Tensor) -> Tensor:
        return (1.0 - 2 * self.eps) * (1.0 - t**self.power) + self.eps

    def slope(self, t: Tensor) -> Tensor:
        return -(1.0 - 2 * self.eps) * self.power * t ** (self.power - 1.0)
