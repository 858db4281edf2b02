"""Times that follow from other times."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..core.draws import Draws
from ..noise.schedules import GeometricRate
from .canvas import Canvas
from .times import LowDiscrepancy, Times


@dataclass(frozen=True)
class Discrete:
    """1/steps, 2/steps, ..., 1: another policy's times, rounded down and one step on (MDLM with T > 0, D3PM)."""

    steps: int
    inner: Times = LowDiscrepancy()

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        return self.of(self.inner.draw(canvas, draws))

    def of(self, time: Tensor) -> Tensor:
        return (time * self.steps).int() / self.steps + 1.0 / self.steps


@dataclass(frozen=True)
class EvenInLogRate:
    """Times at which the log of the log-linear schedule's masking rate is even: MDLM's importance sampling, under which
    every time's cross entropy has the same weight."""

    inner: Times = LowDiscrepancy()
    eps: float = 1e-3

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        return self.of(self.inner.draw(canvas, draws))

    def of(self, share: Tensor) -> Tensor:
        """Times from the share of the way between the rates' ends."""
        return (1.0 - self.rate.alpha(share)) / (1.0 - self.eps)

    @property
    def rate(self) -> GeometricRate:
        return GeometricRate(-math.expm1(-self.eps), 1.0 - self.eps)


@dataclass(frozen=True)
class Even:
    """Every `size` consecutive documents take times evenly from low to high, both included: no chance in it, for
    evaluation (d1's SFT)."""

    size: int
    low: float = 1e-3
    high: float = 1.0

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        share = (canvas.sample % self.size).float() / max(self.size - 1, 1)
        return self.low + (self.high - self.low) * share


@dataclass(frozen=True)
class SpreadCounts:
    """Shares x / n of a document's n answer columns, x in 1 ... n spread over every `size` consecutive documents from a
    first one that is drawn for the group: x = 1 + (round(k + i n / size) - 1) mod n (LLaDA's likelihood)."""

    size: int

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        num = canvas.total(canvas.answer.long()).clamp_min(1)
        first = 1 + (draws.group(canvas.sample // self.size, "count") * num).long().minimum(num - 1)
        share = num.float() / self.size
        count = (first + (canvas.sample % self.size) * share).round().long()
        return ((count - 1) % num + 1) / num
