"""The exact cache of block-causal and causal models: what nothing open can change is stored once (arXiv:2503.09573)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.slots import Cache, Leaves
from ...core.types import NEVER, Segments, Sight, State
from ...ops.selection import amin_where
from ._needed import seen


def final(s: State, seg: Segments, sight: Sight) -> Tensor:
    """(B, T) bool: columns in no clique and ranked below everything that is open or unknown: they see nothing that can
    still change."""
    return s.valid & (sight.clique < 0) & (sight.rank < amin_where(sight.rank, (seg.open | s.unknown) & s.valid, NEVER))


@dataclass(frozen=True)
class Exact(Cache):
    """Final columns are stored in the first forward that runs them, together with the next block (fuse) or alone, as the references
    do (an extra forward that commits nothing)."""

    fuse: bool = True
    needs: ClassVar[tuple[str, ...]] = ("block",)

    def plan(
        self, s: State, seg: Segments, want: Tensor, sight: Sight, m: Leaves
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sealed = final(s, seg, sight)
        needed = seen(s, want, sight)
        read = needed & sealed & (s.stored > 0)
        run = needed & ~read
        if not self.fuse:
            late = (run & sealed).any(1, keepdim=True)
            run, want = run & (sealed | ~late), want & ~late
        return run, read, run & sealed, want
