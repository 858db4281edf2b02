"""What a wanted prediction depends on."""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.types import Sight, State
from ...ops.selection import amax_where


def sources(s: State, want: Tensor) -> Tensor:
    """(B, T) bool: the columns whose output rows predict the wanted ones (one to the left on shifted models)."""
    if not s.traits.shift:
        return want
    left = torch.cat((want[:, 1:], torch.zeros_like(want[:, :1])), 1)
    first = torch.zeros_like(left)
    first[:, 0] = want[:, 0]
    return left | first


def seen(s: State, want: Tensor, sight: Sight) -> Tensor:
    """(B, T) bool: valid columns that the wanted predictions can depend on, by rank or as one clique."""
    rows = sources(s, want) & s.valid
    limit = amax_where(sight.reach, rows, -1)
    number = (sight.clique + 1).clamp(0, sight.clique.shape[1])  # 0: in no clique
    wanted = torch.zeros(len(number), number.shape[1] + 1, dtype=torch.bool, device=number.device)
    wanted = wanted.scatter(1, number * rows, True)
    wanted[:, 0] = False
    return s.valid & ((sight.rank <= limit) | wanted.gather(1, number))
