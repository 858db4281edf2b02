"""Select: a planned number of columns a step (MaskGIT, arXiv:2202.04200; LLaDA, arXiv:2502.09992)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...core.slots import Leaves, Select
from ...core.types import Prediction, Segments, State
from ...ops.selection import top


@dataclass(frozen=True)
class Quota(Select):
    """n // steps columns a step, one more in each of the first n % steps; always at least one.

    steps   forwards per block; 0 = as the schedule plans, else one per column
    count   where > 0, this many in every step
    of      n is the number of unknown columns when the block opened, or the block's length (SDAR, LLaDA2)
    """

    steps: int = 0
    count: int = 0
    of: Literal["unknown", "block"] = "unknown"

    def __post_init__(self) -> None:
        self.within(0, 2**31, "steps", "count")

    def number(self, seg: Segments, length: Tensor) -> Tensor:
        """(B, 1) int64; length (B, 1): columns in the block."""
        if self.count:
            return torch.full_like(seg.size[:, :1], self.count)
        n = seg.size[:, :1] if self.of == "unknown" else length
        steps = torch.full_like(n, self.steps) if self.steps else torch.where(seg.steps[:, :1] > 0, seg.steps[:, :1], n)
        steps = steps.clamp(min=1)
        return (n // steps + (seg.age[:, :1] < n % steps)).clamp(min=1)

    def select(
        self, s: State, seg: Segments, pred: Prediction, score: Tensor, cand: Tensor, m: Leaves
    ) -> tuple[Tensor, Leaves]:
        return top(score, cand, self.number(seg, seg.open.sum(1, keepdim=True))), m
