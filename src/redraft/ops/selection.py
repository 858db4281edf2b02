"""Picking columns by score: stable, row-wise, never more than there are candidates, ties to the left."""

from __future__ import annotations

import torch
from torch import Tensor

NEG = float("-inf")


def best(score: Tensor, cand: Tensor) -> Tensor:
    """(B, T) bool: the single best candidate of each row, the leftmost of equals; nothing where there is none."""
    masked = score.masked_fill(~cand, NEG)
    top = cand & (masked == masked.amax(1, keepdim=True))
    return top & (top.cumsum(1) == 1)


def places(score: Tensor, cand: Tensor) -> Tensor:
    """(B, T) int64: 0 for the best candidate, 1 for the next...; columns that are no candidates come last."""
    order = score.masked_fill(~cand, NEG).argsort(dim=1, descending=True, stable=True)
    return torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )


def top(score: Tensor, cand: Tensor, count: Tensor) -> Tensor:
    """(B, T) bool: the `count` (B, 1) best candidates of each row."""
    return cand & (places(score, cand) < count)


def best_per_segment(score: Tensor, cand: Tensor, index: Tensor, segments: int) -> Tensor:
    """(B, T) bool: the best candidate of every segment, the leftmost of equals."""
    if segments == 1:
        return best(score, cand)
    masked = score.masked_fill(~cand, NEG)
    home = index.clamp(min=0)
    peak = torch.full((score.shape[0], segments), NEG, dtype=score.dtype, device=score.device)
    peak = peak.scatter_reduce(1, home, masked, "amax")
    tied = cand & (masked == peak.gather(1, home))
    column = torch.arange(score.shape[1], device=score.device).expand_as(home)
    far = torch.full((score.shape[0], segments), score.shape[1], dtype=column.dtype, device=score.device)
    first = far.scatter_reduce(1, home, column.masked_fill(~tied, score.shape[1]), "amin")
    return tied & (column == first.gather(1, home))


def first(mask: Tensor) -> Tensor:
    """(B, T) bool: the leftmost true column of each row."""
    return mask & (mask.cumsum(1) == 1)


def amin_where(value: Tensor, mask: Tensor, empty: int) -> Tensor:
    """(B, 1): least value over the mask, `empty` where there is none."""
    return value.masked_fill(~mask, empty).amin(1, keepdim=True).clamp(max=empty)


def amax_where(value: Tensor, mask: Tensor, empty: int) -> Tensor:
    """(B, 1): greatest value over the mask, `empty` where there is none."""
    return value.masked_fill(~mask, empty).amax(1, keepdim=True)
