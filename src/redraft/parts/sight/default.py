"""Who sees whom as the model was trained: full, causal or block-causal attention, or a causal text with an open block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.slots import Look
from ...core.types import Sight, State
from .causal import Causal
from .open_block import OpenBlock


@dataclass(frozen=True)
class Default(Look):
    """From the model's traits. Positions count real tokens. On block models a suffix keeps its positions but takes a rank below the
    gap's first block, and so does the prompt's part of that block: the gap sees both, neither sees the gap."""

    def sight(self, s: State) -> Sight:
        if s.traits.attention == "causal":
            return (OpenBlock() if s.traits.block > 1 else Causal()).sight(s)
        pos = (s.valid.cumsum(1) - 1).clamp(min=0)
        none = torch.full_like(pos, -1)
        rank = self.rank(s, pos)
        return Sight(pos, rank, rank, none, none)

    def rank(self, s: State, pos: Tensor) -> Tensor:
        if s.traits.attention != "block":
            return torch.zeros_like(pos)
        size = max(s.traits.block, 1)
        gap = pos.gather(1, s.start[:, None].clamp(max=pos.shape[1] - 1)) // size
        tail = s.columns >= s.end[:, None]
        rank = pos // size
        given = tail | (s.columns < s.start[:, None]) & (s.valid & tail).any(1, keepdim=True)
        return torch.where(given, torch.where(tail, gap - 1, rank.minimum(gap - 1)), rank)
