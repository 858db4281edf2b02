"""Estimators that draw noisings of the masked-diffusion bound, and one formula for their standard error.

For a group of n answer columns and rate t the bound on log p is the integral over t in (0, 1) of
(1/t) E[sum of log p over the masked columns] (MDLM, arXiv:2406.07524; any order, 2310.05793). Drawn as it stands, its
variance grows without end as t goes to 0. Each estimator here has the same expectation under bounded weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.draws import Keyed
from ...core.traits import Traits
from ..canvas import Canvas
from ..objective import Objective
from .estimator import ROWS, Kind, LogProb, Look, Tick, row_of, scored, scores
from .groups import Groups

Mask = tuple[Tensor, Tensor, Tensor]  # hit (B, T) bool, weight and rate (B, T)


@dataclass(frozen=True)
class Design:
    """How draws are laid out: strata of fixed `weights`, each drawn `replicates` times independently; a replicate is the
    mean of `members` dependent looks."""

    weights: tuple[float, ...]
    replicates: int
    members: int = 1

    @property
    def looks(self) -> int:
        return len(self.weights) * self.replicates * self.members


@dataclass(frozen=True)
class Sampled(ABC):
    """The estimators' common run. row: how the model is read, None: by its traits."""

    row: Objective | None = None

    @abstractmethod
    def design(self, num_samples: int) -> Design:
        """How so many looks are laid out."""

    @abstractmethod
    def mask(self, groups: Groups, draws: Keyed, stratum: int, design: Design, member: int) -> Mask:
        """One look: hit, weight and rate, all (B, T)."""

    def fixed(self, groups: Groups) -> list[Mask]:
        """Looks in which nothing is drawn, added once."""
        return []

    def reading(self, model: Any, traits: Traits) -> Objective:
        return self.row or row_of(model, traits)

    def kind(self, groups: Groups) -> Kind:
        return "bound"

    def estimate(
        self,
        model: Any,
        canvas: Canvas,
        traits: Traits,
        seed: int = 0,
        num_samples: int = 32,
        rows: int = ROWS,
        tick: Tick | None = None,
    ) -> LogProb:
        row = self.reading(model, traits)
        canvas = scored(canvas, row, traits)
        groups = Groups.of(canvas, row)
        certain = groups.longest <= 1  # one column a group: nothing to draw
        ones = torch.ones_like(canvas.place, dtype=torch.float64)
        fixed = [(canvas.answer, ones, ones)] if certain else self.fixed(groups)
        design = Design((), 1) if certain else self.design(max(num_samples, 1))
        weights: list[Tensor] = []

        def looks() -> Iterator[Look]:
            for hit, weight, rate in (*fixed, *self._masks(groups, seed, design)):
                weights.append(weight.double())
                yield Look(hit, hit, rate.float())

        each = torch.zeros(canvas.tokens.shape, dtype=torch.float64, device=canvas.tokens.device)
        sums: list[Tensor] = []
        forwards = torch.zeros(len(canvas.tokens), dtype=torch.int64, device=canvas.tokens.device)
        per = design.replicates * design.members
        for number, one in enumerate(scores(model, row, canvas, looks(), traits, rows, tick)):
            part = one * weights[number]
            weights[number] = part.new_zeros(0)
            drawn = number - len(fixed)
            each += part * (1.0 if drawn < 0 else design.weights[drawn // per] / per)
            sums.append(part.sum(1))
            forwards += (one != 0).any(1)
        value, error = sum(sums[: len(fixed)], each.new_zeros(len(each))), each.new_zeros(len(each))
        if not certain:
            shape = (len(design.weights), design.replicates, design.members)
            more, error = combine(torch.stack(sums[len(fixed) :]).unflatten(0, shape).mean(2), design)
            value = value + more
        return LogProb(value, error, canvas.answer.sum(1), forwards, "exact" if certain else self.kind(groups), each)

    def _masks(self, groups: Groups, seed: int, design: Design) -> Iterator[Mask]:
        for stratum in range(len(design.weights)):
            for replicate in range(design.replicates):
                draws = Keyed(seed, stratum * design.replicates + replicate)
                for member in range(design.members):
                    yield self.mask(groups, draws, stratum, design, member)


def combine(drawn: Tensor, design: Design) -> tuple[Tensor, Tensor]:
    """Value and standard error (B,) of replicates (strata, replicates, B): the weighted sum of the strata's means, whose
    variances add. NaN where one replicate cannot tell."""
    weight = torch.tensor(design.weights, dtype=drawn.dtype, device=drawn.device)[:, None]
    value = (weight * drawn.mean(1)).sum(0)
    if design.replicates == 1:
        return value, torch.full_like(value, float("nan"))
    return value, (weight**2 * drawn.var(1) / design.replicates).sum(0).sqrt()


def at_rate(groups: Groups, draws: Keyed, t: Tensor) -> Mask:
    """Bernoulli masks at rate t (B, T), given that each group has one at least; their weight is P(one at least) / t.

    The leftmost hit has a truncated geometric place, and the columns behind it are free.
    """
    t = t.double()
    stay = torch.log1p(-t)
    some = -torch.expm1(groups.size * stay)
    first = (torch.log1p(-groups.uniform(draws, "first").double() * some) / stay).floor()
    place = groups.leftmost
    first = torch.minimum(first, groups.size - 1.0)
    hit = (place == first) | ((place > first) & (draws.column(groups.canvas, "mask") < t))
    return hit & groups.canvas.answer, some / t, t


def by_count(groups: Groups, draws: Keyed, count: Tensor) -> Tensor:
    """(B, T) bool: `count` (B, T) answer columns of each group, any set of them equally likely."""
    return (groups.rank(draws.column(groups.canvas, "mask")) < count) & groups.canvas.answer


@dataclass(frozen=True)
class MonteCarlo(Sampled):
    """Independent times and Bernoulli masks."""

    def design(self, num_samples: int) -> Design:
        return Design((1.0,), num_samples)

    def mask(self, groups: Groups, draws: Keyed, stratum: int, design: Design, member: int) -> Mask:
        return at_rate(groups, draws, groups.uniform(draws, "time"))


@dataclass(frozen=True)
class Stratified(Sampled):
    """Times in equal strata of (0, 1), two draws in each, so that the error is the true one and not a guess."""

    def design(self, num_samples: int) -> Design:
        num = max(num_samples // 2, 1)
        return Design((1.0 / num,) * num, 2)

    def mask(self, groups: Groups, draws: Keyed, stratum: int, design: Design, member: int) -> Mask:
        return at_rate(groups, draws, (stratum + groups.uniform(draws, "time").double()) / len(design.weights))


@dataclass(frozen=True)
class Quadrature(Sampled):
    """Gauss-Legendre nodes in t, masks drawn at each (GDPO's idea). The error is that of the masks; the quadrature's own
    is nothing where the nodes are at least half a group's answer columns: the integrand is a polynomial in t."""

    nodes: int = 8

    def design(self, num_samples: int) -> Design:
        _, weights = np.polynomial.legendre.leggauss(self.nodes)
        return Design(tuple(float(w) / 2 for w in weights), max(num_samples // self.nodes, 2))

    def mask(self, groups: Groups, draws: Keyed, stratum: int, design: Design, member: int) -> Mask:
        node = (np.polynomial.legendre.leggauss(self.nodes)[0][stratum] + 1) / 2
        return at_rate(groups, draws, torch.full_like(groups.size, float(node), dtype=torch.float64))

    def kind(self, groups: Groups) -> Kind:
        return "bound" if 2 * self.nodes >= groups.longest else "approximation"


@dataclass(frozen=True)
class Coupled(Sampled):
    """Pairs of a mask and its complement, so that each pair reads every column once, and one look with everything masked
    (DiffuCoder's coupled masks, arXiv:2506.20639, in unbiased weights: 1/n of the bound is the full mask's). Counts run
    evenly over 1..n - 1 in each pass of `pairs`."""

    pairs: int = 2

    def design(self, num_samples: int) -> Design:
        pairs = min(self.pairs, max(num_samples // 4, 1))
        return Design((1.0,), max(num_samples // (2 * pairs), 1), 2 * pairs)

    def fixed(self, groups: Groups) -> list[Mask]:
        answer = groups.canvas.answer
        return [(answer, 1.0 / groups.size.clamp_min(1), answer.double())]

    def start(self, groups: Groups, draws: Keyed) -> Tensor:
        """(B, T) in [0, 1), where each group's pass over the counts begins."""
        return groups.uniform(draws, "count").double()

    def mask(self, groups: Groups, draws: Keyed, stratum: int, design: Design, member: int) -> Mask:
        size, pair, pairs = groups.size, member // 2, design.members // 2
        even = (self.start(groups, draws) + pair / pairs) % 1.0
        count = 1 + (even * (size - 1)).long().clamp_max(size - 2)
        hit = by_count(groups, Keyed(draws.seed, draws.draw * pairs + pair), count.clamp_min(0))
        if member % 2:
            hit, count = ~hit & groups.canvas.answer & (size > 1), size - count
        return hit, (size - 1) / count.clamp_min(1), count / size.clamp_min(1)


@dataclass(frozen=True)
class ExactCount(Sampled):
    """A whole number k of columns masked, uniform on 1..n, weight n / k (LLaDA, arXiv:2502.09992): k runs evenly over
    1..n in each pass of `members` looks, from a random start. Passes are the replicates of the error."""

    members: int = 4

    def design(self, num_samples: int) -> Design:
        members = min(self.members, max(num_samples // 2, 1))
        return Design((1.0,), max(num_samples // members, 1), members)

    def mask(self, groups: Groups, draws: Keyed, stratum: int, design: Design, member: int) -> Mask:
        size = groups.size.clamp_min(1)
        start = (groups.uniform(draws, "count").double() * size).long()
        # half up, where LLaDA's torch.round takes halves to even numbers and so prefers some k
        count = 1 + (start + torch.floor(member * size / design.members + 0.5).long()) % size
        looks = Keyed(draws.seed, draws.draw * design.members + member)
        return by_count(groups, looks, count), size / count, count / size
