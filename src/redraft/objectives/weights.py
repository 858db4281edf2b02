"""Weights that read the noised canvas: how much of a column's context, or of its block, was hit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..noise.process import Noise
from .canvas import Canvas, Noised
from .policies import groups, total


@dataclass(frozen=True)
class CleanContext:
    """1 / (base + m_n), m_n = sum over hit columns j < n of decay^(n - 1 - j): a column counts less, the more and the
    nearer the masks before it are (CARD's context-aware reweighting, arXiv:2601.22031)."""

    base: float = 1.0
    decay: float = 0.5

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        mass = torch.zeros_like(noised.time)
        far = min(canvas.tokens.shape[1] - 1, math.ceil(math.log(1e-8) / math.log(self.decay)))
        for distance in range(1, far + 1):
            same = canvas.document[:, distance:] == canvas.document[:, :-distance]
            mass[:, distance:] += (same & noised.hit[:, :-distance]) * self.decay ** (distance - 1)
        return 1.0 / (self.base + mass)


@dataclass(frozen=True)
class RealisedRate:
    """1 / the share of the document's (or the block's) answer columns that were hit: 1/t without the scatter of the
    mask's size (effective mask ratio scaling, SDAR-VL, arXiv:2512.14068)."""

    block: int = 0

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        group = groups(canvas, self.block)
        hit = total((canvas.answer & noised.hit).float(), group)
        return total(canvas.answer.float(), group) / hit.clamp_min(1.0)
