"""A temperature that falls with the steps of a segment (DiffusionGemma's linear schedule)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...core.slots import Drawing, Leaves
from ...core.types import Draw, Segments, State


@dataclass(frozen=True)
class Annealed(Drawing):
    """From `first` at a segment's first step, linearly, so that a step after the last of `steps` would reach
    `last`. Rows of different age have different temperatures. Scores read the tempered and filtered
    distribution."""

    first: float = 0.8
    last: float = 0.4
    steps: int = 48
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    suppress: tuple[int, ...] = ()
    needs: ClassVar[tuple[str, ...]] = ("uniform",)

    def draw(self, s: State, seg: Segments, m: Leaves) -> Draw:
        left = (self.steps - seg.age[:, 0]).clamp(min=0) / self.steps
        return Draw(
            1.0, self.top_k, self.top_p, self.min_p, self.repetition_penalty, "filtered", suppress=self.suppress,
            rows=self.last + (self.first - self.last) * left,
        )  # fmt: skip
