"""Noise that knows how frequent tokens are: rare ones are masked more often (frequency-informed masking) or earlier
(DiffusionBERT's spindle).

The counts are an input of the run: count the training data (`token_counts`) and put them in with `counted`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..core.draws import Draws
from ..core.errors import BadInput
from ..noise.process import Noise
from .canvas import Canvas, Noised

T = TypeVar("T")


@dataclass(frozen=True)
class TokenCounts:
    """How often every id occurs in the training data; empty until `counted`."""

    values: tuple[int, ...] = field(default=(), repr=False)

    @cached_property
    def tensor(self) -> Tensor:
        """(V,) float32."""
        if not self.values:
            raise BadInput(
                "this recipe needs the token counts of its training data, found none; count the data and put them in "
                "with objectives.frequency.counted(program, counts)."
            )
        return torch.tensor(self.values, dtype=torch.float32)

    @cached_property
    def rarity(self) -> Tensor:
        """(V,) in (0, 1]: (rank + 1) / V, rank 0 the most frequent id; of equal counts the smaller id first."""
        order = self.tensor.argsort(descending=True, stable=True)
        rank = torch.empty_like(order).scatter(0, order, torch.arange(len(order)))
        return (rank + 1) / len(order)

    @cached_property
    def familiarity(self) -> Tensor:
        """(V,) in [0, 1]: log(count + 1), the largest 1."""
        log = (self.tensor + 1).log()
        return log / log.max().clamp_min(1e-9)


def token_counts(rows: Iterable[Sequence[int]], vocab: int) -> TokenCounts:
    """The counts of ids 0 to vocab - 1 in rows of ids."""
    total = torch.zeros(vocab, dtype=torch.int64)
    for row in rows:
        total += torch.bincount(torch.as_tensor(row, dtype=torch.int64), minlength=vocab)[:vocab]
    return TokenCounts(tuple(total.tolist()))


def counted(program: T, counts: TokenCounts) -> T:
    """The program with `counts` wherever one of its parts has token counts."""
    if isinstance(program, TokenCounts):
        return counts  # type: ignore[return-value]
    if isinstance(program, tuple):
        return tuple(counted(value, counts) for value in program)  # type: ignore[return-value]
    if not dataclasses.is_dataclass(program) or isinstance(program, type):
        return program
    fields = [f.name for f in dataclasses.fields(program) if f.init]
    new: dict[str, Any] = {name: counted(getattr(program, name), counts) for name in fields}
    if all(new[name] is getattr(program, name) for name in fields):
        return program
    return dataclasses.replace(program, **new)


def mean(canvas: Canvas, value: Tensor, among: Tensor) -> Tensor:
    """(B, T): each column gets its document's mean of `value` (B, T) over the columns `among` (B, T)."""
    return canvas.total(value * among) / canvas.total(among.to(value.dtype)).clamp_min(1.0)


@dataclass(frozen=True)
class RareFirst:
    """A column's probability is its rate times rarity^power over its document's mean of that, at most 1: rare tokens are
    masked more often, the expected rate of a document is kept where nothing is cut off (arXiv:2509.05056)."""

    power: float = 0.02
    counts: TokenCounts = TokenCounts()

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        weight = self.counts.rarity.to(rate.device)[canvas.tokens] ** self.power
        own = rate * weight / mean(canvas, weight, canvas.answer).clamp_min(1e-9)
        return (draws.column(canvas, "mask") < own) & canvas.answer


@dataclass(frozen=True)
class Spindle:
    """DiffusionBERT's schedule (arXiv:2211.15029): a token is still itself at time t with probability
    1 - t + strength * sin(pi t) * f, cut to [0, 0.999]; f its log frequency less its document's mean, so frequent tokens
    last longer and come back first."""

    strength: float = 0.3
    counts: TokenCounts = TokenCounts()

    def alpha(self, canvas: Canvas, t: Tensor) -> Tensor:
        """(B, T)."""
        f = self.counts.familiarity.to(t.device)[canvas.tokens]
        f = f - mean(canvas, f, canvas.valid)
        return (1.0 - t + self.strength * (math.pi * t).sin() * f).clamp(0.0, 0.999)


@dataclass(frozen=True)
class SpindleMasking:
    """Every answer column by itself, with probability 1 - spindle.alpha."""

    spindle: Spindle = Spindle()

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        return (draws.column(canvas, "mask") < 1.0 - self.spindle.alpha(canvas, rate)) & canvas.answer


@dataclass(frozen=True)
class SpindleWeight:
    """What one of `steps` steps back adds to the bound, and `hybrid` plain cross entropy: with s = t - 1 / steps,
    (alpha(s) - alpha(t)) / (1 - alpha(t)) + hybrid (D3PM's loss in the parameterisation of clean tokens)."""

    spindle: Spindle = Spindle()
    steps: int = 2048
    hybrid: float = 0.01

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        now = self.spindle.alpha(canvas, noised.time)
        before = self.spindle.alpha(canvas, (noised.time - 1.0 / self.steps).clamp_min(0.0))
        return (before - now) / (1.0 - now) + self.hybrid
