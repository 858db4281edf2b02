"""Auxiliary losses: further readings of the same forward."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.traits import Traits
from .canvas import Canvas, Noised
from .objective import Objective, Reading
from .readings import CrossEntropy, Shifted
from .view import CLEAN, View


@dataclass(frozen=True)
class NextToken:
    """Autoregressive cross entropy on the clean stream, which must be causal (NBDiff, arXiv:2512.06776; I-DLM)."""

    share: float = 1.0

    def reading(self, objective: Objective, canvas: Canvas, noised: Noised, view: View, traits: Traits) -> Reading:
        learn = (view.stream == CLEAN) & canvas.answer.gather(1, view.source) & (view.document >= 0)
        ones = noised.time.new_ones(noised.time.shape)
        return objective.reading(
            "next_token", canvas, noised, view, learn, Shifted(), CrossEntropy(), ones, traits, self.share
        )
