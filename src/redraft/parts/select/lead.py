"""Select modifier: a block's first forward commits its first column alone (Fast-dLLM's block sampler for Dream, arXiv:2505.22618)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ...core.slots import Leaves, Select
from ...core.types import Prediction, Segments, State
from ...ops.selection import first
from .threshold import Threshold


@dataclass(frozen=True)
class Lead(Select):
    """On shifted models later forwards of the block cannot predict its first column: it is taken when the block opens."""

    of: Select = field(default_factory=Threshold)

    def init(self, s: State) -> Mapping[str, Tensor]:
        return self.of.init(s)

    def select(
        self, s: State, seg: Segments, pred: Prediction, score: Tensor, cand: Tensor, m: Leaves
    ) -> tuple[Tensor, Leaves]:
        opening = seg.age[:, :1] == 0
        pick, m = self.of.select(s, seg, pred, score, cand & ~opening, m)
        return pick | (first(cand) & opening), m
