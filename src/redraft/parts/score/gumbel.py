"""Score modifier: choose the order at random, surer columns more often (Dream's alg_temp, arXiv:2508.15487)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...core.slots import Score
from ...core.types import Prediction, Segments, State
from .confidence import Confidence


@dataclass(frozen=True)
class Gumbel(Score):
    """score / temperature plus Gumbel noise: taking the top n draws n columns without replacement from softmax(score / temperature)."""

    of: Score = field(default_factory=Confidence)
    temperature: float = 0.0

    def score(self, s: State, seg: Segments, pred: Prediction) -> Tensor:
        score = self.of.score(s, seg, pred)
        if self.temperature <= 0:
            return score
        uniform = s.noise.uniform(s.seed, s.step, s.columns, 1)
        return (score / self.temperature - torch.log(-torch.log(uniform))).to(score.dtype)
