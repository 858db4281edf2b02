"""Score: minus the entropy, in nats (Dream, arXiv:2508.15487)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.slots import Score
from ...core.types import Prediction, Segments, State


@dataclass(frozen=True)
class Entropy(Score):
    """sum p log p: higher is surer."""

    reads: ClassVar[tuple[str, ...]] = ("entropy",)

    def score(self, s: State, seg: Segments, pred: Prediction) -> Tensor:
        return -pred.read("entropy")
