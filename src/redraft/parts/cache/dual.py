"""Fast-dLLM's dual cache (arXiv:2505.22618): K/V of what stands before and after the block, renewed when a block opens."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...core.slots import Cache, Leaves
from ...core.types import Segments, Sight, State
from ._needed import seen


@dataclass(frozen=True)
class Dual(Cache):
    """A block's first forward runs and stores everything; later ones run the block alone and renew its K/V in place."""

    def plan(
        self, s: State, seg: Segments, want: Tensor, sight: Sight, m: Leaves
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        needed = seen(s, want, sight)
        run = needed & ((seg.age[:, :1] == 0) | seg.open)
        return run, needed & ~run, run, want
