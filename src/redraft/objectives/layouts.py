"""Layouts: how clean and noised tokens become one forward's columns, and who sees whom among them.

    full         one stream, the noised canvas; everyone sees everyone, or (block > 0) blocks see themselves and
                 earlier ones
    two_stream   BD3-LM (arXiv:2503.09573): the noised and the clean canvas side by side at the same positions; a
                 noised block sees itself and the clean blocks before it, so one pass trains every block
Both take a Canvas and return a View whose vectors feed `ops.attention.sight_mask`. A suffix (infilling) is context
like the prompt: it keeps its positions and takes a rank below the gap's first block, so every gap block sees it and
it never sees the gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.types import NEVER
from ..ops.attention import sight_mask

HIDDEN = -(1 << 30)  # a reach below every rank


@dataclass(frozen=True)
class Canvas:
    """A rectangular batch of clean samples; all (B, T) but sample.

    tokens  ids                       answer  columns that may be masked and are learned
    valid   columns that exist        suffix  columns of known text behind a gap
    sample  (B,) int64, each sample's name for keyed noise
    """

    tokens: Tensor
    valid: Tensor
    answer: Tensor
    suffix: Tensor
    sample: Tensor


@dataclass(frozen=True)
class View:
    """The columns of one forward; all (B, W). `source` is the canvas column shown, `learn` marks columns whose token
    is a target."""

    tokens: Tensor
    pos: Tensor
    source: Tensor
    learn: Tensor
    rank: Tensor
    reach: Tensor
    clique: Tensor
    turn: Tensor

    def mask(self) -> Tensor:
        """(B, W, W) bool, who sees whom; every column sees itself."""
        seen = sight_mask(self.rank, self.reach, self.clique, self.clique, self.turn, self.turn)
        return seen | torch.eye(self.rank.shape[1], dtype=torch.bool, device=seen.device)

    def trimmed(self) -> View:
        """Without the columns that no learned column needs; the loss is the same, the forward smaller."""
        wanted = torch.zeros_like(self.learn)
        # a learned column needs all its block and all it can see by rank; one round suffices because what is
        # needed by rank is closed under rank, and blocks of one stream share their reach
        row_reach = torch.where(self.learn, self.reach, HIDDEN).amax(1, keepdim=True)
        wanted = self.rank <= row_reach
        blocks = torch.where(self.learn, self.clique, -1)
        top = int(self.clique.max()) + 1
        if top > 0:
            hit = torch.zeros(len(blocks), top + 1, dtype=torch.bool, device=blocks.device)
            hit.scatter_(1, (blocks + 1).clamp_min(0), True)
            hit[:, 0] = False
            wanted |= hit.gather(1, (self.clique + 1).clamp_min(0))
        width = int(wanted.sum(1).max())
        order = (~wanted).to(torch.int8).argsort(dim=1, stable=True)[:, :width]
        kept = wanted.gather(1, order)

        def take(x: Tensor) -> Tensor:
            return x.gather(1, order)

        return View(
            take(self.tokens),
            take(self.pos),
            take(self.source),
            take(self.learn) & kept,
            torch.where(kept, take(self.rank), NEVER),
            torch.where(kept, take(self.reach), HIDDEN),
            torch.where(kept, take(self.clique), -1),
            take(self.turn),
        )


def block_ranks(canvas: Canvas, block: int) -> Tensor:
    """(B, T) block index by position, as decoding's default sight gives it.

    Where there is a suffix, it and the prompt's part of the gap's first block rank one below that block (-1 is a
    rank like any other). Columns that do not exist rank NEVER.
    """
    width = canvas.tokens.shape[1]
    index = (torch.arange(width, device=canvas.tokens.device) // block).expand_as(canvas.tokens)
    below = torch.where(canvas.answer, index, NEVER).amin(1, keepdim=True) - 1
    given = ~canvas.answer & canvas.suffix.any(1, keepdim=True)
    rank = torch.where(given, torch.where(canvas.suffix, below, torch.minimum(index, below)), index)
    return torch.where(canvas.valid, rank, NEVER)


@dataclass(frozen=True)
class Full:
    """One stream: the noised canvas; block 0 sees all, else block-causal."""

    block: int = 0

    def lay(self, canvas: Canvas, noised: Tensor, hit: Tensor) -> View:
        """noised and hit (B, T) from the noise."""
        width = noised.shape[1]
        pos = torch.arange(width, device=noised.device).expand_as(noised)
        rank = block_ranks(canvas, self.block) if self.block else torch.where(canvas.valid, 0, NEVER)
        none = torch.full_like(pos, -1)
        reach = torch.where(canvas.valid, rank, HIDDEN)
        return View(noised, pos, pos, hit, rank, reach, none, torch.zeros_like(pos))


@dataclass(frozen=True)
class TwoStream:
    """Noised and clean canvas side by side (2T columns, noised first)."""

    block: int

    def lay(self, canvas: Canvas, noised: Tensor, hit: Tensor) -> View:
        """noised and hit (B, T) from the noise."""
        width = noised.shape[1]
        pos = torch.arange(width, device=noised.device).expand_as(noised)
        rank = block_ranks(canvas, self.block)
        never = torch.full_like(rank, NEVER)
        reach = torch.where(canvas.valid, rank, HIDDEN)
        # cliques are counted from 1 so that the rank -1 of a suffix is a clique too
        clique = torch.where(canvas.valid, rank + 1, -1)
        return View(
            torch.cat((noised, canvas.tokens), 1),
            torch.cat((pos, pos), 1),
            torch.cat((pos, pos), 1),
            torch.cat((hit, torch.zeros_like(hit)), 1),
            torch.cat((never, rank), 1),
            torch.cat((torch.where(canvas.valid, rank - 1, HIDDEN), reach), 1),
            torch.cat((clique, torch.full_like(clique, -1)), 1),
            torch.zeros(len(pos), 2 * width, dtype=pos.dtype, device=pos.device),
        )


Layout = Full | TwoStream
