"""Select: as many as the joint error bound allows (Fast-dLLM's factor rule, arXiv:2505.22618, Theorem 1)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...core.slots import Leaves, Select
from ...core.types import Prediction, Segments, State
from ...ops.selection import places


@dataclass(frozen=True)
class Factor(Select):
    """The longest run of best candidates whose j-th has score >= 1 - factor / (j + 1); at least one.

    last    as in the authors' code, a first failure at the last rank (or at the second of two) is committed too
    """

    factor: float = 1.0
    last: bool = False

    def __post_init__(self) -> None:
        self.within(0.0, 1e6, "factor")

    def select(
        self, s: State, seg: Segments, pred: Prediction, score: Tensor, cand: Tensor, m: Leaves
    ) -> tuple[Tensor, Leaves]:
        place = places(score, cand)
        bar = 1 - self.factor / (place + 2)
        fails = cand & (score < bar) & (place > 0)
        num = cand.sum(1, keepdim=True)
        first_fail = place.masked_fill(~fails, place.shape[1]).amin(1, keepdim=True).minimum(num)
        if self.last:
            first_fail = first_fail + (first_fail == num - 1)
        return cand & (place < first_fail.clamp(min=1)), m
