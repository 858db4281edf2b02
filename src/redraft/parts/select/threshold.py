"""Select: everything the model is sure of (Fast-dLLM, arXiv:2505.22618; SDAR; LLaDA2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.slots import Leaves, Select
from ...core.types import Prediction, Segments, State
from ...ops.selection import best_per_segment, top
from .quota import Quota


@dataclass(frozen=True)
class Threshold(Select):
    """All candidates at the bar or above (strict: above). Where fewer than `least` of a row pass, its `least` best instead: None means
    one per segment that must progress, a Quota gives its count."""

    bar: float = 0.9
    strict: bool = False
    least: Quota | None = None
    reads: ClassVar[tuple[str, ...]] = ("prob",)

    def select(
        self, s: State, seg: Segments, pred: Prediction, score: Tensor, cand: Tensor, m: Leaves
    ) -> tuple[Tensor, Leaves]:
        prob = pred.read("prob")
        sure = cand & ((prob > self.bar) if self.strict else (prob >= self.bar))
        if self.least is None:
            must = cand & seg.at(seg.must)
            return sure | best_per_segment(score, must, seg.index, seg.must.shape[1]), m
        count = self.least.number(seg, seg.open.sum(1, keepdim=True))
        enough = sure.sum(1, keepdim=True) >= count
        return (sure & enough) | (top(score, cand, count) & ~enough), m
