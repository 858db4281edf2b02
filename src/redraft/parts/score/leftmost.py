"""Score: left to right."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...core.slots import Score
from ...core.types import Prediction, Segments, State


@dataclass(frozen=True)
class Leftmost(Score):
    """Minus the column."""

    def score(self, s: State, seg: Segments, pred: Prediction) -> Tensor:
        return -s.columns.expand_as(s.tokens).float()
