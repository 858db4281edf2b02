"""Who sees whom in an encoder-decoder model: text is causal, one canvas is open at a time (DiffusionGemma)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...core.slots import Look
from ...core.types import NEVER, Sight, State
from ...ops.selection import amin_where


@dataclass(frozen=True)
class EncoderDecoder(Look):
    """The block of `size` columns (0: the model's canvas) with the first unknown column is the canvas: its columns
    see each other and all text before it. All other columns are text. A suffix keeps its positions, with ranks
    below the gap's."""

    size: int = 0
    needs: ClassVar[tuple[str, ...]] = ("uniform",)

    def sight(self, s: State) -> Sight:
        pos = (s.valid.cumsum(1) - 1).clamp(min=0)
        tail = s.valid & (s.columns >= s.end[:, None])
        rank = torch.where(tail, pos - (s.end - s.start)[:, None], pos + s.answer * tail.sum(1, keepdim=True))
        number = (s.columns - s.start[:, None]).clamp(min=0) // (self.size or max(s.traits.block, 1))
        canvas = s.answer & (number == amin_where(number, s.unknown & s.answer, NEVER))
        clique = torch.where(canvas, 0, -1)
        before = amin_where(rank, canvas, NEVER) - 1
        return Sight(pos, rank, torch.where(canvas, before, rank), clique, torch.zeros_like(clique))
