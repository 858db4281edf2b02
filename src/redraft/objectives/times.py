"""Times: how noisy each document, block or column is. All give (B, T) in [low, high]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..core.draws import Draws
from .canvas import Canvas

_GOLDEN, _BLOCK, _DRAW = 0.6180339887498949, 0.7548776662466927, 0.5698402909980532


class Times(Protocol):
    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        """(B, T) times in [0, 1]."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Independent uniform times, one a document, or one for every `block` places."""

    block: int = 0
    low: float = 1e-3
    high: float = 1.0

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        u = draws.block(canvas, "time", self.block) if self.block else draws.document(canvas, "time")
        return self.low + (self.high - self.low) * u


@dataclass(frozen=True)
class LowDiscrepancy:
    """Uniform times spread evenly over consecutive documents, and over a document's blocks where block > 0.

    t = frac(offset + sample * golden + block * ...): stratified like MDLM's antithetic times, yet each document's time
    depends on its own number alone, so that batches may be split in any way.
    """

    block: int = 0
    low: float = 1e-3
    high: float = 1.0

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        index = canvas.place // self.block if self.block else torch.zeros_like(canvas.place)
        offset = draws.group(torch.zeros((), dtype=torch.int64, device=index.device), "offset").double()
        turn = offset + getattr(draws, "draw", 0) * _DRAW + canvas.sample.double() * _GOLDEN + index * _BLOCK
        return (self.low + (self.high - self.low) * (turn % 1.0)).float()


@dataclass(frozen=True)
class Stratified:
    """Uniform times stratified over every `size` consecutive documents (times their `blocks` first blocks), strata
    permuted anew for each such group: the global batch's antithetic times of MDLM and BD3-LM without the field's bug
    that a block always sees the same stratum (bd3lms).

    permuted   False: strata in the order of documents and blocks, as the references have it
    """

    size: int
    block: int = 0
    blocks: int = 1
    low: float = 1e-3
    high: float = 1.0
    permuted: bool = True

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        num = self.size * self.blocks
        index = (canvas.place // self.block % self.blocks) if self.block else torch.zeros_like(canvas.place)
        group, inside = canvas.sample // self.size, canvas.sample % self.size * self.blocks + index
        stratum = inside.float()
        if self.permuted:
            numbers, where = group.unique(return_inverse=True)
            slots = torch.arange(num, device=group.device)
            order = draws.group(numbers[:, None] * num + slots, "strata").argsort(1)  # a permutation for each group
            stratum = order[where, inside].float()
        u = draws.block(canvas, "time", self.block) if self.block else draws.document(canvas, "time")
        return self.low + (self.high - self.low) * (stratum + u) / num


@dataclass(frozen=True)
class Constant:
    """The same time everywhere."""

    time: float = 1.0

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        return torch.full(canvas.tokens.shape, self.time, device=canvas.tokens.device)
