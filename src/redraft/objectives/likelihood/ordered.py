"""Estimators that reveal an answer column by column: the chain rule in an order that is given, drawn or recorded.

Blocks are revealed side by side where the model sees only clean blocks before its own, so a block model needs as many
forwards as its block has places.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...core.draws import Keyed
from ...core.errors import BadInput
from ...core.traits import Traits
from ...core.trajectory import Trajectory
from ...noise.absorbing import Clean
from ..canvas import Canvas
from ..objective import Objective
from .estimator import ROWS, LogProb, Look, Tick, autoregressive_row, row_of, scored, scores
from .groups import Groups


def reveals(canvas: Canvas, groups: Groups, step: Tensor) -> Iterator[Look]:
    """Looks that read the columns of `step` (B, T) 0, 1, ... in turn; later columns, and those below 0, are masked."""
    last = int(step.max()) + 1
    for now in range(last):
        hit = canvas.answer & ((step >= now) | (step < 0))
        yield Look(hit, canvas.answer & (step == now), hit.sum(1, keepdim=True) / groups.size.clamp_min(1))


def chain(
    model: Any, row: Objective, canvas: Canvas, step: Tensor, traits: Traits, rows: int, tick: Tick | None
) -> tuple[Tensor, Tensor]:
    """(B, T) float64 log-probability of each column given those of earlier steps; (B,) forwards."""
    groups = Groups.of(canvas, row)
    each = torch.zeros(canvas.tokens.shape, dtype=torch.float64, device=canvas.tokens.device)
    for one in scores(model, row, canvas, reveals(canvas, groups, step), traits, rows, tick):
        each += one
    return each, torch.where(canvas.answer, step, -1).amax(1) + 1


@dataclass(frozen=True)
class LeftToRight:
    """Exact: each token given those to its left. One forward for a causal model; for others one per place of the answer
    (or of a block), the columns to the right masked."""

    row: Objective | None = None

    def estimate(
        self,
        model: Any,
        canvas: Canvas,
        traits: Traits,
        seed: int = 0,
        num_samples: int = 1,
        rows: int = ROWS,
        tick: Tick | None = None,
    ) -> LogProb:
        row = self.row or (autoregressive_row(traits) if traits.attention == "causal" else row_of(model, traits))
        canvas = scored(canvas, row, traits)
        step = Groups.of(canvas, row).leftmost
        if isinstance(row.noise, Clean):
            step = step.clamp_max(0)
        each, forwards = chain(model, row, canvas, step, traits, rows, tick)
        value = each.sum(1)
        return LogProb(value, torch.zeros_like(value), canvas.answer.sum(1), forwards, "exact", each)


@dataclass(frozen=True)
class AnyOrder:
    """The chain rule in `num_samples` random orders (AO-ARM, arXiv:2110.02037).

    weighted  log of the orders' mean probability (IWAE's bound, Eso-LM's importance-weighted orders, 2506.01928), which
              tends to the exact value from below; its error is the delta method's. False: the mean of the logs, whose
              expectation is the masked-diffusion bound
    """

    row: Objective | None = None
    weighted: bool = True

    def estimate(
        self,
        model: Any,
        canvas: Canvas,
        traits: Traits,
        seed: int = 0,
        num_samples: int = 8,
        rows: int = ROWS,
        tick: Tick | None = None,
    ) -> LogProb:
        row = self.row or row_of(model, traits)
        canvas = scored(canvas, row, traits)
        groups = Groups.of(canvas, row)
        num = 1 if groups.longest <= 1 else max(num_samples, 1)
        steps = [groups.rank(Keyed(seed, k).column(canvas, "order")) for k in range(num)]
        looks = ((k, look) for k, step in enumerate(steps) for look in reveals(canvas, groups, step))
        owner: list[int] = []

        def told() -> Iterator[Look]:
            for k, look in looks:
                owner.append(k)
                yield look

        each = torch.zeros(num, *canvas.tokens.shape, dtype=torch.float64, device=canvas.tokens.device)
        for number, one in enumerate(scores(model, row, canvas, told(), traits, rows, tick)):
            each[owner[number]] += one
        sums = torch.stack([groups.total(one) for one in each])  # (orders, B, groups)
        if self.weighted:
            group = sums.logsumexp(0) - math.log(num)
            spread = (sums - group).exp().var(0) if num > 1 else torch.full_like(group, float("nan"))
            value, variance = group.sum(1), (spread / num).sum(1)
        else:
            whole = sums.sum(2)
            value = whole.mean(0)
            variance = whole.var(0) / num if num > 1 else torch.full_like(value, float("nan"))
        certain = groups.longest <= 1
        return LogProb(
            value,
            torch.zeros_like(value) if certain else variance.sqrt(),
            canvas.answer.sum(1),
            num * groups.size.masked_fill(~canvas.answer, 0).amax(1),
            "exact" if certain else "bound",
            None if self.weighted and not certain else each.mean(0),
        )


@dataclass(frozen=True)
class Replay:
    """The log-probability of a recorded run: each column given what had been committed before its forward, columns of
    one forward independently, as they were drawn (TraceRL's and CJ-GRPO's log-probabilities).

    steps  (B, T) int64 on the canvas's columns: the forward that committed a column, below 0 where none did. Columns
           that were never committed stay masked and are not scored
    """

    steps: Tensor = field(compare=False, default_factory=lambda: torch.zeros(0, 0, dtype=torch.int64))
    row: Objective | None = None

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory], width: int, row: Objective | None = None) -> Replay:
        """From decoding's trajectories: a column's forward is that of its last commit or edit."""
        steps = torch.full((len(trajectories), width), -1, dtype=torch.int64)
        for i, trajectory in enumerate(trajectories):
            for change in trajectory:
                if change.column >= width:
                    raise BadInput(
                        f"a trajectory's columns should lie on the canvas of {width}, found {change.column}; "
                        "give the canvas of the same request."
                    )
                steps[i, change.column] = -1 if change.kind == "drop" else change.forward
        return cls(steps, row)

    def estimate(
        self,
        model: Any,
        canvas: Canvas,
        traits: Traits,
        seed: int = 0,
        num_samples: int = 1,
        rows: int = ROWS,
        tick: Tick | None = None,
    ) -> LogProb:
        if self.steps.shape != canvas.tokens.shape:
            raise BadInput(
                f"a replay needs a step for each column of the canvas {tuple(canvas.tokens.shape)}, found "
                f"{tuple(self.steps.shape)}; record the same rows."
            )
        row = self.row or row_of(model, traits)
        canvas = scored(canvas, row, traits)
        steps = torch.where(canvas.answer, self.steps.to(canvas.tokens.device), -1)
        step = dense_steps(steps, Groups.of(canvas, row).index)
        each, forwards = chain(model, row, canvas, step, traits, rows, tick)
        value = each.sum(1)
        return LogProb(value, torch.zeros_like(value), (step >= 0).sum(1), forwards, "exact", each)


def dense_steps(steps: Tensor, group: Tensor) -> Tensor:
    """(B, T): each group's steps counted 0, 1, ... without gaps; below 0 stays."""
    out = torch.full_like(steps, -1)
    for row in range(len(steps)):
        for number in group[row].unique():
            inside = (group[row] == number) & (steps[row] >= 0)
            if inside.any():
                out[row, inside] = steps[row, inside].unique(return_inverse=True)[1]
    return out
