"""Layouts of one noised stream whose blocks are counted from where the answer starts, and annealed attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.draws import Draws
from ..core.errors import BadInput
from .canvas import Canvas, Noised
from .layouts import Causal, Layout, single
from .view import View


@dataclass(frozen=True)
class Forcing:
    """Diffusion forcing (D2F, arXiv:2508.09192): the prompt sees itself; a block of the answer sees the prompt, itself and
    the earlier blocks as noised as they are. No clean copy, so the later blocks learn to go on from unfinished ones."""

    block: int

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        far = 1 << 30
        start = -canvas.largest(torch.where(canvas.answer, -canvas.place, -far))
        behind = canvas.place - start
        rank = torch.where(behind < 0, 0, behind // self.block + 1)
        return single(canvas, noised, learn, rank)


@dataclass(frozen=True)
class Annealed:
    """Another layout in which every hidden pair of columns is opened with probability `share`, drawn anew for each row:
    attention annealing from causal to full (DiffuLLaMA, arXiv:2410.17891). A curriculum moves `share` from 0 to 1."""

    share: float = 0.0
    inner: Layout = Causal()

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        view = self.inner.lay(canvas, noised, learn, draws)
        width = canvas.tokens.shape[1]
        if view.tokens.shape[1] != width:
            raise BadInput("attention annealing needs a layout of one stream, found two; use Full or Causal inside.")
        if self.share <= 0.0:
            return view
        if self.share >= 1.0:
            return replace(view, opened=torch.ones(1, width, width, dtype=torch.bool, device=view.tokens.device))
        chance = draws.column(canvas, "open", int(canvas.place.max()) + 1)  # by place, so that packing changes nothing
        chance = chance.gather(2, canvas.place[:, None, :].expand(-1, width, -1))
        return replace(view, opened=chance < self.share)
