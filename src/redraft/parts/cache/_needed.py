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
    """(B, T) bool: valid columns that the wanted predictions can depend on, by rank."""
    limit = amax_where(sight.reach, sources(s, want) & s.valid, -1)
    return s.valid & (sight.rank <= limit)
