"""Fast-dLLM's prefix cache (arXiv:2505.22618): K/V of what stands before the block, renewed when a block opens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.slots import Cache, Leaves
from ...core.types import NEVER, Segments, Sight, State
from ...ops.selection import amin_where
from ._needed import seen


@dataclass(frozen=True)
class Prefix(Cache):
    """A block's first forward runs everything and stores the prefix; later ones run the block and all after it, storing nothing."""

    def plan(
        self, s: State, seg: Segments, want: Tensor, sight: Sight, m: Leaves
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        needed = seen(s, want, sight)
        columns = s.columns.expand_as(want)
        # blanks of the prompt may be open next to the block: they belong to the prefix
        block = amin_where(columns, seg.open & (columns >= s.start[:, None]), NEVER)
        before = columns < torch.where(block < NEVER, block, amin_where(columns, seg.open, NEVER))
        fresh = seg.age[:, :1] == 0
        run = needed & (fresh | ~before | seg.open)
        return run, needed & ~run, needed & fresh & before, want
