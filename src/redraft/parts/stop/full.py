"""Stop when every place is filled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.slots import Leaves, Stop
from ...core.types import LENGTH, State


@dataclass(frozen=True)
class Full(Stop):
    """All places asked for are known; whole: those that fill up the last block too, as the references do."""

    whole: bool = False

    def done(self, s: State, moved: Tensor, busy: Tensor, m: Leaves) -> Tensor:
        return torch.where(open_places(s, self.whole).any(1) | busy, 0, LENGTH).to(torch.int8)


def open_places(s: State, whole: bool) -> Tensor:
    """(B, T) bool: unknown columns that must still be filled."""
    return s.unknown if whole else s.unknown & (s.columns < s.goal[:, None])
