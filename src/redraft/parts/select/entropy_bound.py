"""Select: the surest columns whose summed entropy stays under a bound (EB-Sampler, arXiv:2505.24857)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ...core.slots import Leaves, Select
from ...core.types import Prediction, Segments, State
from ...ops.selection import places


@dataclass(frozen=True)
class EntropyBound(Select):
    """Entropies ascending, in nats; at least one column.

    sum  inclusive: the running sum with the column itself < bound (JetEngine); exclusive: the sum before it <= bound (SGLang)
    of   column: each column's own entropy; block: every column counts -sum(p log p) over the likeliest tokens of the block's
         columns, known ones too, and columns go from left to right (as SDAR's generate.py computes it)
    """

    bound: float = 0.35
    sum: Literal["inclusive", "exclusive"] = "inclusive"
    of: Literal["column", "block"] = "column"
    reads: ClassVar[tuple[str, ...]] = ("entropy", "prob")

    def wants(self, s: State, seg: Segments) -> Tensor | None:
        return seg.open & s.valid if self.of == "block" else None

    def select(
        self, s: State, seg: Segments, pred: Prediction, score: Tensor, cand: Tensor, m: Leaves
    ) -> tuple[Tensor, Leaves]:
        entropy = pred.read("entropy")
        if self.of == "block":
            prob = pred.read("prob").masked_fill(~(seg.open & s.valid & pred.got), 1.0).clamp(min=1e-12)
            entropy = -(prob * prob.log()).sum(1, keepdim=True).expand_as(entropy)
        place = places(-entropy, cand)
        order = place.argsort(1)
        total = entropy.masked_fill(~cand, 0.0).gather(1, order).cumsum(1).gather(1, place)
        fits = (total < self.bound) if self.sum == "inclusive" else (total - entropy <= self.bound)
        return cand & (fits | (place == 0)), m
