"""Layouts: how clean and noised tokens become one forward's columns, and who sees whom among them.

A layout fills the vectors of a View and nothing else: attention is one rule (`ops.attention.sight_mask`). Blocks are
counted in places of a document. A suffix (infilling) is context like the prompt: it keeps its positions and takes a rank
below the gap's first block, so every gap block sees it and it never sees the gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..core.draws import Draws
from ..core.types import NEVER
from .canvas import Canvas, Noised
from .view import CLEAN, HIDDEN, NOISED, View


class Layout(Protocol):
    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        """The view in which `learn` (B, T) bool columns of the noised canvas are targets."""
        ...


def block_ranks(canvas: Canvas, block: int) -> Tensor:
    """(B, T) block index by place, as decoding's default sight gives it.

    Where there is a suffix, it and the prompt's part of the gap's first block rank one below that block (-1 is a
    rank like any other). Columns that do not exist rank NEVER.
    """
    index = canvas.place // block
    below = -canvas.largest(torch.where(canvas.answer, -index, -NEVER)) - 1
    given = ~canvas.answer & (canvas.largest(canvas.suffix.long()) > 0)
    rank = torch.where(given, torch.where(canvas.suffix, below, torch.minimum(index, below)), index)
    return torch.where(canvas.valid, rank, NEVER)


def columns(canvas: Canvas) -> Tensor:
    """(B, T) int64: 0, 1, 2, ..."""
    return torch.arange(canvas.tokens.shape[1], device=canvas.tokens.device).expand_as(canvas.tokens)


def before(canvas: Canvas) -> Tensor:
    """(B, T) int64: the column of the place before in the same document, or -1."""
    column = columns(canvas)
    return torch.where((canvas.place > 0) & (column > 0), column - 1, -1)


def documents(canvas: Canvas) -> Tensor:
    """(B, T) int64, -1 for columns that do not exist."""
    return torch.where(canvas.valid, canvas.document, -1)


def single(canvas: Canvas, noised: Noised, learn: Tensor, rank: Tensor, clique: Tensor | None = None) -> View:
    """One stream, the noised canvas, in which a column sees the ranks up to its own."""
    column = columns(canvas)
    none = torch.full_like(column, -1)
    return View(
        tokens=noised.tokens,
        pos=canvas.place,
        source=column,
        learn=learn,
        before=before(canvas),
        stream=torch.full_like(column, NOISED),
        rank=torch.where(canvas.valid, rank, NEVER),
        reach=torch.where(canvas.valid, rank, HIDDEN),
        clique=none if clique is None else clique,
        turn=torch.zeros_like(column),
        document=documents(canvas),
        time=noised.time,
    )


@dataclass(frozen=True)
class Full:
    """One stream: the noised canvas. block 0: all see all; else blocks see themselves and earlier ones."""

    block: int = 0

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        rank = block_ranks(canvas, self.block) if self.block else torch.zeros_like(canvas.place)
        return single(canvas, noised, learn, rank)


@dataclass(frozen=True)
class Causal:
    """One stream in which a column sees itself and the places before it: autoregressive models, CARD."""

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        return single(canvas, noised, learn, canvas.place)


@dataclass(frozen=True)
class TwoStream:
    """The noised and the clean canvas side by side at the same positions (BD3-LM, arXiv:2503.09573): a noised block sees
    itself and the clean blocks before it, so one pass trains every block.

    causal  the clean stream is causal, not block-causal, so that at block 1 the model is the autoregressive one (NBDiff,
            2512.06776); the noised block then sees the clean places before its start (and no suffix behind it)
    bridge  the row before a block's first place, for shifted predictions, is the clean one: a block's first token comes
            from what is known before it, as in decoding; else it is the noised one of the block before (Fast-dLLM v2)
    """

    block: int
    causal: bool = False
    bridge: bool = False

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        if self.causal:
            index = canvas.place // self.block
            rank, below = torch.where(canvas.valid, canvas.place, NEVER), index * self.block - 1
        else:
            rank = index = block_ranks(canvas, self.block)
            below = index - 1
        # cliques are counted from 1 so that the rank -1 of a suffix is a clique too
        clique = torch.where(canvas.valid, index + 1, -1)
        view = two_streams(canvas, noised, learn, rank, below, clique, torch.zeros_like(rank))
        if not self.bridge:
            return view
        opening = (view.pos % self.block == 0) & (view.stream == NOISED) & (view.before >= 0)
        return replace(view, before=view.before + opening * canvas.tokens.shape[1])


def two_streams(
    canvas: Canvas, noised: Noised, learn: Tensor, rank: Tensor, below: Tensor, clique: Tensor, turn: Tensor
) -> View:
    """Noised columns (reach `below`, their clique and turn) and then clean ones (rank and reach `rank`); all (B, T)."""
    column, width = columns(canvas), canvas.tokens.shape[1]
    back, none = before(canvas), torch.full_like(column, -1)
    return View(
        tokens=torch.cat((noised.tokens, canvas.tokens), 1),
        pos=torch.cat((canvas.place, canvas.place), 1),
        source=torch.cat((column, column), 1),
        learn=torch.cat((learn, torch.zeros_like(learn)), 1),
        before=torch.cat((back, torch.where(back >= 0, back + width, -1)), 1),
        stream=torch.cat((torch.full_like(column, NOISED), torch.full_like(column, CLEAN)), 1),
        rank=torch.cat((torch.full_like(rank, NEVER), rank), 1),
        reach=torch.cat((torch.where(canvas.valid, below, HIDDEN), torch.where(canvas.valid, rank, HIDDEN)), 1),
        clique=torch.cat((clique, none), 1),
        turn=torch.cat((turn, torch.zeros_like(turn)), 1),
        document=torch.cat((documents(canvas), documents(canvas)), 1),
        time=torch.cat((noised.time, torch.zeros_like(noised.time)), 1),
    )
