"""The columns of one training forward, and who sees whom among them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.types import NEVER
from ..ops.attention import sight_mask

HIDDEN = -(1 << 30)  # a reach below every rank
NOISED, CLEAN = 0, 1  # streams


@dataclass(frozen=True)
class View:
    """The columns of one forward; all (B, W).

    tokens, pos   what is shown, and where
    source        the canvas column shown
    learn         bool, this column's token is a target
    before        the view column whose output is one row before this one's (-1: none), for shifted predictions
    stream        NOISED or CLEAN
    rank, reach, clique, turn   sight: i sees j iff rank[j] <= reach[i], or they share a clique >= 0 and
                  turn[j] <= turn[i]
    document      columns of different documents never see each other; -1 for columns that do not exist
    time          the noise level of what is shown, 0 for clean columns
    opened        (B | 1, W, W) bool more sight (attention annealing), or None
    """

    tokens: Tensor
    pos: Tensor
    source: Tensor
    learn: Tensor
    before: Tensor
    stream: Tensor
    rank: Tensor
    reach: Tensor
    clique: Tensor
    turn: Tensor
    document: Tensor
    time: Tensor
    opened: Tensor | None = None

    def mask(self) -> Tensor:
        """(B, W, W) bool, who sees whom; every column sees itself."""
        seen = sight_mask(self.rank, self.reach, self.clique, self.clique, self.turn, self.turn)
        if self.opened is not None:
            seen = seen | self.opened
        seen = seen & (self.document[:, :, None] == self.document[:, None, :]) & (self.document >= 0)[:, :, None]
        return seen | torch.eye(self.rank.shape[1], dtype=torch.bool, device=seen.device)

    def trimmed(self, read: Tensor) -> tuple[View, Tensor]:
        """Without the columns that no column of `read` (B, W) bool depends on: same outputs there, a smaller forward;
        and each old column's place in it, (B, W) int64, -1 where it is gone."""
        mask = self.mask()
        wanted = read
        while True:
            more = wanted | (mask & wanted[:, :, None]).any(1)
            if torch.equal(more, wanted):
                break
            wanted = more
        width = max(int(wanted.sum(1).max()), 1)
        if width == wanted.shape[1]:
            return self, torch.arange(width, device=wanted.device).expand_as(wanted)
        order = (~wanted).to(torch.int8).argsort(dim=1, stable=True)[:, :width]
        kept = wanted.gather(1, order)
        place = torch.full_like(self.source, -1).scatter(
            1, order, torch.arange(width, device=order.device).expand_as(order)
        )
        place = torch.where(wanted, place, -1)
        parts = {f.name: getattr(self, f.name).gather(1, order) for f in dataclasses.fields(self) if f.name != "opened"}
        before = parts["before"]
        parts["before"] = torch.where(before >= 0, place.gather(1, before.clamp_min(0)), -1)
        parts["learn"] &= kept
        for name, none in (("rank", NEVER), ("reach", HIDDEN), ("clique", -1), ("document", -1)):
            parts[name] = torch.where(kept, parts[name], none)
        opened = self.opened
        if opened is not None:
            rows = torch.arange(len(order), device=order.device)[:, None, None] if len(opened) > 1 else 0
            opened = opened[rows, order[:, :, None], order[:, None, :]]
        return View(**parts, opened=opened), place
