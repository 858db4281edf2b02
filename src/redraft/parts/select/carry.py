"""Select: a quota whose unsure part waits for the next step (Fast-dLLM's threshold for Dream without a cache, arXiv:2505.22618)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.part import Kind
from ...core.slots import Leaves, Select
from ...core.types import Prediction, Segments, State
from ...ops.selection import places


@dataclass(frozen=True)
class Carry(Select):
    """Of the n // steps best columns plus those left over from the last step, commit the first and all at the bar or above."""

    bar: float = 0.9
    steps: int = 0
    reads: ClassVar[tuple[str, ...]] = ("prob",)
    leaves: ClassVar[Mapping[str, Kind]] = {"left": "row"}

    def __post_init__(self) -> None:
        self.within(0, 2**31, "steps")

    def init(self, s: State) -> dict[str, Tensor]:
        return {"left": torch.zeros_like(s.start)[:, None]}

    def select(
        self, s: State, seg: Segments, pred: Prediction, score: Tensor, cand: Tensor, m: Leaves
    ) -> tuple[Tensor, Leaves]:
        age = seg.age[:, :1]
        steps = (
            torch.full_like(age, self.steps)
            if self.steps
            else torch.where(seg.steps[:, :1] > 0, seg.steps[:, :1], seg.size[:, :1]).clamp(min=1)
        )
        left = torch.where(age == 0, 0, m["left"])
        count = (torch.where(age < steps, seg.size[:, :1] // steps, 0) + left).clamp(min=1)
        place = places(score, cand)
        due = cand & (place < count)
        pick = due & ((place == 0) | (pred.read("prob") >= self.bar))
        return pick, {"left": torch.where(cand.any(1, keepdim=True), (due & ~pick).sum(1, keepdim=True), left)}
