"""Fast-dLLM v2's hierarchical cache (arXiv:2509.26328): exact before the block, approximate inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.slots import Cache, Leaves
from ...core.types import NEVER, Segments, Sight, State
from ...ops.selection import amin_where, first
from ._needed import seen
from .exact import final


@dataclass(frozen=True)
class SubBlock(Cache):
    """While the open sub-block's first column is unknown the whole block runs and is stored provisionally; then the sub-block alone
    runs against it. A full block runs once more, clean, before anything after it reads it."""

    needs: ClassVar[tuple[str, ...]] = ("block",)

    def plan(
        self, s: State, seg: Segments, want: Tensor, sight: Sight, m: Leaves
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sealed = final(s, seg, sight)
        needed = seen(s, want, sight)
        # exact only if written after the last commit among all it sees, its own block included
        rank = (sight.rank - sight.rank.amin(1, keepdim=True)).clamp(max=2 * s.tokens.shape[1] + 1)
        latest = torch.zeros(rank.shape[0], 2 * rank.shape[1] + 2, dtype=s.when.dtype, device=rank.device)
        latest = latest.scatter_reduce(1, rank, s.when.masked_fill(~s.valid, 0), "amax").cummax(1).values
        clean = s.stored > latest.gather(1, rank)
        read = needed & sealed & clean
        block = needed & ~sealed
        refresh = (self.lead(s, seg) & s.unknown).any(1, keepdim=True)
        late = needed & sealed & ~clean
        run = late | (block & (refresh | seg.open))
        return run, read | (block & ~run), late | block, want

    def lead(self, s: State, seg: Segments) -> Tensor:
        """(B, T) bool: the first column of the open sub-block."""
        at = amin_where(s.columns.expand_as(seg.index), seg.open, NEVER)
        return first(s.columns == at)
