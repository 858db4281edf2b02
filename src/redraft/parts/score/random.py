"""Score: a random order (LLaDA's `random` remasking, arXiv:2502.09992)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...core.slots import Score
from ...core.types import Prediction, Segments, State


@dataclass(frozen=True)
class Random(Score):
    """A uniform number keyed by the request's seed, step and column."""

    def score(self, s: State, seg: Segments, pred: Prediction) -> Tensor:
        return s.noise.uniform(s.seed, s.step, s.columns, 1).float()
