"""Select: every column by its own coin (Dream's `origin`: the ancestral sampler of absorbing diffusion, arXiv:2406.07524)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.slots import Leaves, Select
from ...core.types import Prediction, Segments, State


@dataclass(frozen=True)
class Reveal(Select):
    """Between times t and s of a grid from 1 to eps each unknown column is committed with probability 1 - s / t; all in the last step.

    steps   0 = as the schedule plans, else one per unknown column
    """

    steps: int = 0
    eps: float = 1e-3

    def __post_init__(self) -> None:
        self.within(0, 2**31, "steps")
        self.within(0.0, 0.999, "eps")

    def select(
        self, s: State, seg: Segments, pred: Prediction, score: Tensor, cand: Tensor, m: Leaves
    ) -> tuple[Tensor, Leaves]:
        age = seg.age[:, :1]
        steps = (
            torch.full_like(age, self.steps)
            if self.steps
            else torch.where(seg.steps[:, :1] > 0, seg.steps[:, :1], seg.size[:, :1])
        )
        steps = steps.clamp(min=1)
        t = 1 + (self.eps - 1) * age / steps
        share = torch.where(age >= steps - 1, 1.0, 1 - (t + (self.eps - 1) / steps) / t)
        return cand & (s.noise.uniform(s.seed, s.step, s.columns, 2) < share), m
