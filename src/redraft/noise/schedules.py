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


def rate(schedule: Schedule, t: Tensor) -> Tensor:
    """1 - alpha(t); a schedule that has a `rate` of its own says it without the rounding of a difference."""
    own = getattr(schedule, "rate", None)
    found: Tensor = 1.0 - schedule.alpha(t) if own is None else own(t)
    return found


def weight(schedule: Schedule, t: Tensor) -> Tensor:
    """-alpha'(t) / (1 - alpha(t))."""
    return -schedule.slope(t) / rate(schedule, t).clamp_min(1e-12)


@dataclass(frozen=True)
class Linear:
    """alpha = 1 - (1 - eps) t; with eps = 1e-3 MDLM's log-linear schedule. The weight is 1 / t whatever eps."""

    eps: float = 0.0

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - self.rate(t)

    def rate(self, t: Tensor) -> Tensor:
        return (1.0 - self.eps) * t

    def slope(self, t: Tensor) -> Tensor:
        return (t * 0.0) - (1.0 - self.eps)

    def time(self, alpha: Tensor) -> Tensor:
        """The time at which alpha is had."""
        return (1.0 - alpha) / (1.0 - self.eps)


@dataclass(frozen=True)
class Cosine:
    """MD4's alpha = 1 - cos(pi/2 (1 - t)), squeezed by eps at both ends."""

    eps: float = 0.0

    def alpha(self, t: Tensor) -> Tensor:
        return (1.0 - 2 * self.eps) * (1.0 - (math.pi / 2 * (1.0 - t)).cos()) + self.eps

    def slope(self, t: Tensor) -> Tensor:
        return -(1.0 - 2 * self.eps) * (math.pi / 2) * (math.pi / 2 * (1.0 - t)).sin()

    def time(self, alpha: Tensor) -> Tensor:
        """The time at which alpha is had."""
        return 1.0 - 2.0 / math.pi * (1.0 - (alpha - self.eps) / (1.0 - 2 * self.eps)).acos()


@dataclass(frozen=True)
class Polynomial:
    """MD4's alpha = 1 - t^k, squeezed by eps at both ends."""

    power: float = 2.0
    eps: float = 0.0

    def alpha(self, t: Tensor) -> Tensor:
        return (1.0 - 2 * self.eps) * (1.0 - t**self.power) + self.eps

    def slope(self, t: Tensor) -> Tensor:
        return -(1.0 - 2 * self.eps) * self.power * t ** (self.power - 1.0)


@dataclass(frozen=True)
class QuarterCosine:
    """alpha = low + (1 - eps) cos(pi t / 2)^power.

    MDLM's cosine has low = eps and power 1, its squared cosine power 2; BD3-LM's and E2D2's cosine low = 0.
    """

    power: float = 1.0
    eps: float = 1e-3
    low: float = 1e-3

    def alpha(self, t: Tensor) -> Tensor:
        return self.low + (1.0 - self.eps) * (math.pi / 2 * t).cos() ** self.power

    def slope(self, t: Tensor) -> Tensor:
        angle = math.pi / 2 * t
        return -(1.0 - self.eps) * self.power * (math.pi / 2) * angle.cos() ** (self.power - 1.0) * angle.sin()


@dataclass(frozen=True)
class PowerRate:
    """1 - alpha = max(t^power, least): BD3-LM's square and square root. The slope is that of t^power, as in bd3lms."""

    power: float = 2.0
    least: float = 1e-3

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - self.rate(t)

    def rate(self, t: Tensor) -> Tensor:
        return (t**self.power).clamp_min(self.least)

    def slope(self, t: Tensor) -> Tensor:
        return -self.power * t ** (self.power - 1.0)


@dataclass(frozen=True)
class Logarithmic:
    """1 - alpha = log2(1 + t) (BD3-LM, E2D2)."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - self.rate(t)

    def rate(self, t: Tensor) -> Tensor:
        return t.log1p() / math.log(2.0)

    def slope(self, t: Tensor) -> Tensor:
        return -1.0 / (math.log(2.0) * (1.0 + t))


@dataclass(frozen=True)
class Geometric:
    """-log alpha grows geometrically from `low` to `high` (MDLM's geometric noise)."""

    low: float = 1e-3
    high: float = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return (-self.sigma(t)).exp()

    def slope(self, t: Tensor) -> Tensor:
        sigma = self.sigma(t)
        return -sigma * math.log(self.high / self.low) * (-sigma).exp()

    def sigma(self, t: Tensor) -> Tensor:
        """-log alpha(t)."""
        return self.low ** (1.0 - t) * self.high**t


@dataclass(frozen=True)
class GeometricRate:
    """1 - alpha grows geometrically from `low` to `high`, so that the bound's weight is the same at every time.

    The defaults are the ends of MDLM's log-linear schedule, for its change of variables.
    """

    low: float = -math.expm1(-1e-3)
    high: float = 1.0 - 1e-3

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - self.rate(t)

    def rate(self, t: Tensor) -> Tensor:
        return (math.log(self.low) * (1.0 - t) + math.log(self.high) * t).exp()

    def slope(self, t: Tensor) -> Tensor:
        return -math.log(self.high / self.low) * self.rate(t)


@dataclass(frozen=True)
class Shortened:
    """Another schedule up to time 1 - eps (Duo's cosine).

    bare    the slope without the factor 1 - eps, as Duo's code has it (0.1 % too steep)
    """

    inner: Schedule = Cosine()
    eps: float = 1e-3
    bare: bool = False

    def alpha(self, t: Tensor) -> Tensor:
        return self.inner.alpha((1.0 - self.eps) * t)

    def slope(self, t: Tensor) -> Tensor:
        return self.inner.slope((1.0 - self.eps) * t) * (1.0 if self.bare else 1.0 - self.eps)


@dataclass(frozen=True)
class Capped:
    """top times another schedule: at t = 0 already 1 - top is noise (Eso-LM's alpha_0)."""

    inner: Schedule = Linear()
    top: float = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return self.top * self.inner.alpha(t)

    def slope(self, t: Tensor) -> Tensor:
        return self.top * self.inner.slope(t)


def staying(schedule: Schedule, t: Tensor, s: Tensor) -> Tensor:
    """The probability that what is masked at time t is still masked at the earlier time s."""
    return rate(schedule, s) / rate(schedule, t)
