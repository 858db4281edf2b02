"""Score: probability of the predicted token (arXiv:2202.04200, arXiv:2502.09992)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.slots import Score
from ...core.types import Prediction, Segments, State


@dataclass(frozen=True)
class Confidence(Score):
    """p(token)."""

    reads: ClassVar[tuple[str, ...]] = ("prob",)

    def score(self, s: State, seg: Segments, pred: Prediction) -> Tensor:
        return pred.read("prob")
