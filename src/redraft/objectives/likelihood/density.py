"""Likelihood bounds that are integrals over time of a loss per column: uniform noise, or any objective whose weighted
sum is the bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...core.draws import Keyed
from ...core.traits import Traits
from ...noise.process import fitted
from ...noise.uniform import Uniform
from ..bounds import UniformBound
from ..canvas import Canvas
from ..layouts import Full
from ..objective import Objective
from .estimator import ROWS, LogProb, Tick, row_of, scored, taken
from .groups import Groups
from .sampled import Design, combine


def uniform_row() -> Objective:
    """How a uniform-noise model is read: every answer column pays the bound's density (UDLM, arXiv:2412.10193)."""
    return Objective(noise=Uniform(), layout=Full(), term=UniformBound(), supervise="answer")


@dataclass(frozen=True)
class Density:
    """The integral over t of an objective's weighted losses, in strata of [low, high] with two draws in each.

    Losses near t = 0 are rare and large, like 1/t with probability t: times are squares of even ones, which keeps the
    variance finite.

    row  the objective, None: the model's own (uniform noise)
    low, high   ends of the integral; what lies outside is left out, of the order of `low` times the loss per token
    """

    row: Objective | None = None
    low: float = 1e-4
    high: float = 1.0 - 1e-4

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
        row = self.row or row_of(model, traits)
        canvas = scored(canvas, row, traits)
        num = max(num_samples // 2, 1)
        design = Design(((self.high - self.low) / num,) * num, 2)
        each = torch.zeros(canvas.tokens.shape, dtype=torch.float64, device=canvas.tokens.device)
        sums: list[Tensor] = []
        for look in range(2 * num):
            found = torch.cat(
                list(self._losses(model, row, canvas, traits, Keyed(seed, look), look // 2, num, rows, tick))
            )
            each -= found * (design.weights[0] / 2)
            sums.append(-found.sum(1))
        value, error = combine(torch.stack(sums).unflatten(0, (num, 2)), design)
        count = canvas.answer.sum(1)
        return LogProb(value, error, count, torch.full_like(count, 2 * num), "bound", each)

    @torch.no_grad()
    def _losses(
        self,
        model: Any,
        row: Objective,
        canvas: Canvas,
        traits: Traits,
        draws: Keyed,
        stratum: int,
        num: int,
        rows: int,
        tick: Tick | None,
    ) -> Iterator[Tensor]:
        for start in range(0, len(canvas.tokens), rows):
            index = torch.arange(start, min(start + rows, len(canvas.tokens)), device=canvas.tokens.device)
            small = taken(canvas, index)
            u = Groups.of(small, row).uniform(draws, "time").double()
            time = self.low + (self.high - self.low) * ((stratum + u) / num) ** 2
            noised = row.corrupt(small, draws, traits, time.float())
            job = row.job(small, noised, draws, traits)
            loss = row.run({"main": model}, job, job.counts).each
            assert loss is not None
            weight = row.weight.of(small, noised, fitted(row.noise, traits)).double()
            yield loss.double().nan_to_num(0.0) * weight * 2.0 * ((stratum + u) / num)
            if tick is not None:
                tick(len(index))
