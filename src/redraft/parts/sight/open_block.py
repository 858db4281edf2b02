"""Text is causal, the open block sees itself whole (NBDiff, arXiv:2512.06776; SBD, 2509.04185)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...core.slots import Look
from ...core.types import NEVER, Sight, State
from ...ops.selection import amin_where
from .causal import Causal


@dataclass(frozen=True)
class OpenBlock(Look):
    """The block of `size` positions (0: the model's) with the first unknown column is open: its columns see each other and the text
    before it. All else is causal text, as in the training layout TwoStream(size, causal=True); at size 1 the autoregressive model.
    With a suffix, the prompt's part of the gap's first block is text but for its last token."""

    size: int = 0
    needs: ClassVar[tuple[str, ...]] = ("causal",)

    def __post_init__(self) -> None:
        self.within(0, 2**31, "size")

    def sight(self, s: State) -> Sight:
        causal = Causal().sight(s)
        number = causal.pos // (self.size or max(s.traits.block, 1))
        tail = s.valid & (s.columns >= s.end[:, None])
        inside = s.valid & ~tail & (~tail.any(1, keepdim=True) | (s.columns >= s.start[:, None] - 1))
        unknown = s.unknown & s.answer
        member = inside & (number == amin_where(number, unknown, NEVER))
        before = amin_where(causal.rank, member, NEVER) - 1
        clique = torch.where(member, 0, -1)
        return Sight(
            causal.pos, causal.rank, torch.where(member, before, causal.rank), clique, torch.zeros_like(clique)
        )
