"""Training in T discrete steps: weights by step, nested pairs of noisings, and label smoothing as RDM has it.

Step t = 0 ... T - 1 is time (t + 1) / T: times are Discrete(T, ...).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..core.draws import Draws, Places
from ..core.traits import Traits
from ..noise.process import Noise, fitted
from .canvas import Canvas, Noised
from .objective import Objective, Reading
from .readings import Target, Targets
from .view import View


@dataclass(frozen=True)
class Lattice:
    """Evenly spaced times, low + (high - low) frac(i / size + u), of every `size` consecutive documents, which share one u
    (MD4's and GIDD's antithetic times)."""

    size: int
    low: float = 1e-4
    high: float = 1.0 - 1e-4

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        u = draws.group(canvas.sample // self.size, "lattice")
        return self.low + (self.high - self.low) * ((canvas.sample % self.size / self.size + u) % 1.0)


@dataclass(frozen=True)
class StepWeight:
    """ "remaining" T - t (MGDM's linear), "share" 1 - t / T (RDM's linear), "reciprocal" 1 / (t + 1), "none" 1."""

    steps: int
    kind: Literal["remaining", "share", "reciprocal", "none"] = "share"

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        t = (noised.time * self.steps).round() - 1.0
        if self.kind == "remaining":
            return self.steps - t
        if self.kind == "share":
            return 1.0 - t / self.steps
        return 1.0 / (t + 1.0) if self.kind == "reciprocal" else torch.ones_like(t)


@dataclass(frozen=True)
class Nested:
    """Every canvas twice, at two times, what the lower one masks lying inside what the higher one does: RDM's coupled
    pairs (arXiv:2302.05737). At equal times the two are independent. Columns are hit one by one, at the noise's rate;
    the higher one comes first, then all the lower ones."""

    def times(self, objective: Objective, canvas: Canvas, draws: Draws) -> tuple[Tensor, Tensor]:
        """The higher and the lower times, (B, T) each."""
        one = objective.times.draw(canvas, draws)
        two = objective.times.draw(canvas, Renamed(draws, "second "))
        return torch.maximum(one, two), torch.minimum(one, two)

    def noise(self, objective: Objective, canvas: Canvas, draws: Draws, traits: Traits) -> tuple[Canvas, Noised]:
        high, low = self.times(objective, canvas, draws)
        noise = fitted(objective.noise, traits)
        rate, small = noise.rate(high), noise.rate(low)
        first, second = draws.column(canvas, "mask"), draws.column(canvas, "second mask")
        hit = (first < rate) & canvas.answer
        kept = hit & (second > (rate - small) / rate)
        inside = torch.where(high == low, (second < small) & canvas.answer, kept)
        both = [
            Noised(noise.fill(canvas, canvas.tokens, h, t, draws, traits), h, t, r)
            for h, t, r in ((hit, high, rate), (inside, low, small))
        ]
        tokens, hits, times, rates = (torch.cat([getattr(n, name) for n in both]) for name in _NOISED)
        return canvas.doubled(), Noised(tokens, hits, times, rates)


_NOISED = ("tokens", "hit", "time", "rate")


@dataclass(frozen=True)
class Renamed:
    """Draws for the same purposes under other names."""

    draws: Draws
    prefix: str

    def document(self, canvas: Places, name: str) -> Tensor:
        return self.draws.document(canvas, self.prefix + name)

    def block(self, canvas: Places, name: str, block: int) -> Tensor:
        return self.draws.block(canvas, self.prefix + name, block)

    def column(self, canvas: Places, name: str, size: int = 0) -> Tensor:
        return self.draws.column(canvas, self.prefix + name, size)

    def group(self, numbers: Tensor, name: str) -> Tensor:
        return self.draws.group(numbers, self.prefix + name)


@dataclass(frozen=True)
class Evenness:
    """-mean over the vocabulary of log p: what label smoothing adds to a cross entropy."""

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        return -logits.log_softmax(-1).mean(-1)


@dataclass(frozen=True)
class Smoothing:
    """Label smoothing that takes no time weight (RDM): share times the evenness loss of every target, divided as the main
    loss is. The objective's own share is then 1 - share."""

    share: float = 0.1

    def reading(self, objective: Objective, canvas: Canvas, noised: Noised, view: View, traits: Traits) -> Reading:
        learn = objective.learned(canvas, noised)
        target: Target = objective.target
        weight = objective.normaliser.factors(canvas, learn)
        found = objective.reading(
            "smoothing", canvas, noised, view, view.learn, target, Evenness(), weight, traits, self.share
        )
        count = objective.normaliser.count(canvas, learn)
        return found if count is None else replace(found, count=count)
