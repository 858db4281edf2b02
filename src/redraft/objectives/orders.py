"""Two streams whose noised blocks are causal inside, in an order of their own: no token moves, `turn` says who is first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.draws import Draws
from ..core.types import NEVER
from .canvas import Canvas, Noised
from .layouts import two_streams
from .policies import groups, standing
from .view import View


@dataclass(frozen=True)
class Ordered:
    """The noised and a causal clean canvas; a noised column sees the clean blocks before its own, and the columns of its
    own block up to itself in an order.

    order   "place": left to right (I-DLM, arXiv:2604.11035); "observed": the block's visible tokens, then its masked
            ones, each left to right, positions kept (WeDLM's topological order, arXiv:2512.22737)
    """

    block: int
    order: Literal["place", "observed"] = "observed"

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        index = canvas.place // self.block
        clique = torch.where(canvas.valid, index, -1)
        turn = canvas.place
        if self.order == "observed":
            late = canvas.place + noised.hit * (int(canvas.place.max()) + 1)
            turn = standing(late.double(), canvas.valid, groups(canvas, self.block))
        rank = torch.where(canvas.valid, canvas.place, NEVER)
        return two_streams(canvas, noised, learn, rank, index * self.block - 1, clique, turn)
