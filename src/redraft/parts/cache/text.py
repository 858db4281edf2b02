"""The cache of encoder-decoder models: text is stored once, the canvas never (DiffusionGemma)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.slots import Cache, Leaves
from ...core.types import Segments, Sight, State
from ...ops.selection import amax_where


@dataclass(frozen=True)
class Text(Cache):
    """Text that is not stored yet (the prompt, then each finished canvas) runs in the forward of the canvas that
    first reads it: at every layer the canvas needs that layer's text only, so encoding it costs no forward of its
    own."""

    needs: ClassVar[tuple[str, ...]] = ("uniform",)

    def plan(
        self, s: State, seg: Segments, want: Tensor, sight: Sight, m: Leaves
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        canvas = (sight.clique >= 0) & s.valid
        text = s.valid & ~canvas & (sight.rank <= amax_where(sight.reach, canvas, -1))
        return canvas, text, text, want & canvas
