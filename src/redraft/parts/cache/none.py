"""No cache: every forward runs all that the wanted columns can see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.slots import Cache, Leaves
from ...core.types import Segments, Sight, State
from ._needed import seen


@dataclass(frozen=True)
class None_(Cache):
    """Recompute everything, store nothing."""

    def plan(
        self, s: State, seg: Segments, want: Tensor, sight: Sight, m: Leaves
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        none = torch.zeros_like(want)
        return seen(s, want, sight), none, none, want
