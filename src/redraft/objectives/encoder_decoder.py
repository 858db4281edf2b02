"""E2D2's layout (arXiv:2510.22852): an encoder over clean blocks, and a decoder over the noised one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.draws import Draws
from .canvas import Canvas, Noised
from .layouts import TwoStream
from .view import CLEAN, View

CONTEXT = 1 << 20  # the clique of the prompt, apart from those of blocks


@dataclass(frozen=True)
class EncoderDecoder:
    """Two streams: the clean columns are the encoder's, block-causal, the noised ones the decoder's, which see the encoder's
    earlier blocks and their own noised block. One network for both is E2D2 with tied weights and shared keys and values.

    whole   the prompt sees all of itself, as in the authors' code; else it is block-causal too, as blocks are decoded here
    """

    block: int
    whole: bool = True

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        view = TwoStream(self.block).lay(canvas, noised, learn, draws)
        if not self.whole:
            return view
        prompt = (canvas.valid & ~canvas.answer).gather(1, view.source) & (view.stream == CLEAN)
        return replace(view, clique=torch.where(prompt, CONTEXT, view.clique))
