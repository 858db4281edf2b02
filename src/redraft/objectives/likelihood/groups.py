"""The places that are noised together: a document, or each block of it where blocks before are clean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...core.draws import Draws, Keyed
from ..canvas import Canvas, Noised
from ..objective import Objective
from ..view import NOISED


@dataclass(frozen=True)
class Groups:
    """index, size (B, T) int64: each column's group in its row, and how many answer columns that group has."""

    canvas: Canvas
    index: Tensor
    size: Tensor

    @classmethod
    def of(cls, canvas: Canvas, row: Objective) -> Groups:
        """A layout's groups: the cliques of its noised columns; columns without one are a group together."""
        still = canvas.place * 0.0
        clean = Noised(canvas.tokens, torch.zeros_like(canvas.answer), still, still)
        view = row.layout.lay(canvas, clean, canvas.answer, Keyed(0))
        noised = (view.stream == NOISED) & (view.document >= 0)
        index = torch.zeros_like(canvas.place).scatter_reduce(
            1, view.source, torch.where(noised, view.clique + 1, 0), "amax"
        )
        return cls(canvas, index, _per_group(canvas.answer.long(), index, "sum"))

    @cached_property
    def count(self) -> int:
        return int(self.index.max()) + 1

    @cached_property
    def longest(self) -> int:
        """Answer columns of the largest group."""
        return int(torch.where(self.canvas.answer, self.size, 0).max()) if self.size.numel() else 0

    def uniform(self, draws: Draws, name: str) -> Tensor:
        """(B, T) float32, one number a group: its first column's."""
        column = torch.arange(self.index.shape[1], device=self.index.device).expand_as(self.index)
        return draws.column(self.canvas, name).gather(1, _per_group(column, self.index, "amin"))

    def rank(self, key: Tensor) -> Tensor:
        """(B, T) int64: each answer column's place among its group's answer columns by increasing `key` in [0, 1)."""
        answer = self.canvas.answer
        spread = torch.where(answer, self.index * 2.0 + key.double(), float("inf"))
        place = torch.empty_like(self.index).scatter_(
            1,
            spread.argsort(dim=1, stable=True),
            torch.arange(answer.shape[1], device=answer.device).expand_as(self.index),
        )
        return torch.where(answer, place - self._first, -1)

    @cached_property
    def leftmost(self) -> Tensor:
        """(B, T) int64: each answer column's place among its group's answer columns from the left."""
        return self.rank(torch.zeros_like(self.index, dtype=torch.float64))

    @cached_property
    def _first(self) -> Tensor:
        """(B, T) answer columns of the row in groups before this one."""
        before = self.canvas.answer.long().cumsum(1) - self.canvas.answer.long()
        return _per_group(before, self.index, "amin")

    def total(self, value: Tensor) -> Tensor:
        """(B, T) -> (B, groups), sums."""
        return value.new_zeros(len(value), self.count).scatter_add(1, self.index, value)


def _per_group(value: Tensor, index: Tensor, how: str) -> Tensor:
    out = torch.zeros(len(value), int(index.max()) + 1, dtype=value.dtype, device=value.device)
    return out.scatter_reduce(1, index, value, how, include_self=how == "sum").gather(1, index)
