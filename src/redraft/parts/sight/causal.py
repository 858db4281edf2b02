"""Every column sees the text before it: autoregressive models."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...core.slots import Look
from ...core.types import Sight, State


@dataclass(frozen=True)
class Causal(Look):
    """Ranks are places in the text: the prompt, then a suffix (which keeps its positions), then the prompt's last token (whose row
    predicts the gap's first) and the gap."""

    def sight(self, s: State) -> Sight:
        pos = (s.valid.cumsum(1) - 1).clamp(min=0)
        tail = s.columns >= s.end[:, None]
        num_tail = (tail & s.valid).sum(1, keepdim=True)
        inside = (s.columns >= s.start[:, None] - 1) & ~tail
        rank = torch.where(tail, pos - (s.end - s.start)[:, None] - 1, pos + inside * num_tail)
        none = torch.full_like(pos, -1)
        return Sight(pos, rank, rank, none, none)
