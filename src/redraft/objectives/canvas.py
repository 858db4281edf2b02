"""What goes into an objective: a rectangular batch of clean rows, and what the noise made of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Canvas:
    """A rectangular batch of clean rows; all (B, T). A row holds one document, or several packed ones.

    tokens  ids                       answer  columns that may be noised and are learned
    valid   columns that exist        suffix  columns of known text behind a gap
    sample  int64, the number of the document a column belongs to: keys its noise and keeps documents apart
    pos     int64, the column's place in its document: its position, and the other key of its noise

    sample may be given as (B,), one document a row; pos is then the column.
    """

    tokens: Tensor
    valid: Tensor
    answer: Tensor
    suffix: Tensor
    sample: Tensor
    pos: Tensor | None = None

    def __post_init__(self) -> None:
        if self.sample.ndim == 1:
            object.__setattr__(self, "sample", self.sample[:, None].expand_as(self.tokens))
        if self.pos is None:
            column = torch.arange(self.tokens.shape[1], device=self.tokens.device)
            object.__setattr__(self, "pos", column.expand_as(self.tokens))

    @property
    def place(self) -> Tensor:
        """(B, T) int64, `pos` where it was left out too."""
        assert self.pos is not None
        return self.pos

    @property
    def document(self) -> Tensor:
        """(B, T) int64: 0 for a row's first document, 1 for the next one, ..."""
        first = torch.zeros_like(self.sample[:, :1])
        return torch.cat((first, (self.sample[:, 1:] != self.sample[:, :-1]).long()), 1).cumsum(1)

    def total(self, value: Tensor) -> Tensor:
        """(B, T): each column gets the sum of `value` (B, T) over its document."""
        where = self.document
        sums = value.new_zeros(len(value), int(where.max()) + 1 if where.numel() else 1)
        return sums.scatter_add(1, where, value).gather(1, where)

    def largest(self, value: Tensor) -> Tensor:
        """(B, T): each column gets the largest `value` (B, T) int64 of its document."""
        where = self.document
        best = torch.full((len(value), int(where.max()) + 1), -(1 << 40), dtype=value.dtype, device=value.device)
        return best.scatter_reduce(1, where, value, "amax").gather(1, where)

    @property
    def num_documents(self) -> Tensor:
        """() int64, documents with something to learn."""
        share = self.answer / self.total(self.answer.double()).clamp_min(1)
        return share.sum().round().long()

    def doubled(self) -> Canvas:
        """The rows twice, one copy behind the other."""
        return Canvas(
            *(torch.cat((x, x)) for x in (self.tokens, self.valid, self.answer, self.suffix, self.sample, self.place))
        )


@dataclass(frozen=True)
class Noised:
    """A canvas after the noise; all (B, T).

    tokens  what the model sees       hit   columns that the noise took
    time    in [0, 1], 1 all noise    rate  probability with which the column was taken
    soft    (B, T, V) weights of a mixture of embeddings in place of tokens, or None (Duo's curriculum)
    """

    tokens: Tensor
    hit: Tensor
    time: Tensor
    rate: Tensor
    soft: Tensor | None = None
