"""When and where tokens are masked: times draw a rate per row or block, policies spread it over the columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .layouts import Canvas

_ROW, _BLOCK, _DRAW = 0.6180339887498949, 0.7548776662466927, 0.5698402909980532  # additive low-discrepancy sequences


class Times(Protocol):
    def draw(self, canvas: Canvas, offset: Tensor, draw: int) -> Tensor:
        """(B, T) times in (0, 1]; offset is one number in (0, 1) for the run."""
        ...


class Masking(Protocol):
    def rates(self, canvas: Canvas, time: Tensor, place: Tensor) -> Tensor:
        """(B, T) mask probabilities from times (B, T) and place (B, 3), numbers in (0, 1) of the row's own."""
        ...


@dataclass(frozen=True)
class LowDiscrepancy:
    """Uniform times, spread evenly over consecutive samples (and over a row's blocks where block > 0).

    t = frac(offset + sample * golden + block * ...): stratified like MDLM's antithetic times, yet each sample's time
    depends on its own number alone, so batches may be split in any way.
    """

    block: int = 0
    low: float = 1e-3
    high: float = 1.0

    def draw(self, canvas: Canvas, offset: Tensor, draw: int) -> Tensor:
        column = torch.arange(canvas.tokens.shape[1], device=canvas.tokens.device)
        index = column // self.block if self.block else torch.zeros_like(column)
        turn = offset + draw * _DRAW + canvas.sample[:, None].double() * _ROW + index * _BLOCK
        return (self.low + (self.high - self.low) * (turn % 1.0)).float()


@dataclass(frozen=True)
class Anywhere:
    """Every answer column at the drawn rate."""

    def rates(self, canvas: Canvas, time: Tensor, place: Tensor) -> Tensor:
        return time


@dataclass(frozen=True)
class Window:
    """As decoding block by block leaves the canvas: known before a window, at the drawn rate in it, all masked behind
    it.

    The window's length is one of `sizes`, its start anywhere in the answer.
    """

    sizes: tuple[int, ...]

    def rates(self, canvas: Canvas, time: Tensor, place: Tensor) -> Tensor:
        column = torch.arange(canvas.tokens.shape[1], device=canvas.tokens.device)
        count = canvas.answer.sum(1)
        start = canvas.answer.to(torch.int8).argmax(1) + (place[:, 0] * count).long()
        size = torch.tensor(self.sizes, device=column.device)[(place[:, 1] * len(self.sizes)).long()]
        inside = (column >= start[:, None]) & (column < (start + size)[:, None])
        behind = column >= (start + size)[:, None]
        return torch.where(inside, time, behind.to(time.dtype))
