"""Score: best minus second-best probability (arXiv:2502.06768)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.slots import Score
from ...core.types import Prediction, Segments, State


@dataclass(frozen=True)
class Margin(Score):
    """p(first) - p(second), after the draw's filters."""

    reads: ClassVar[tuple[str, ...]] = ("margin",)

    def score(self, s: State, seg: Segments, pred: Prediction) -> Tensor:
        return pred.read("margin")
