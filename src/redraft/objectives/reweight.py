"""Weights by time, and CART, beside the plain ones of `readings`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..noise.process import Noise
from .canvas import Canvas, Noised


@dataclass(frozen=True)
class Fixed:
    """The same weight everywhere."""

    value: float = 1.0

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        return torch.full_like(noised.time, self.value)


@dataclass(frozen=True)
class Damped:
    """-alpha'(t) / (1 - alpha(t) + plus): dllm adds 1e-6, BD3-LM's and E2D2's cosine 1e-3. It is below the bound's weight
    where few tokens are hit."""

    plus: float = 1e-6

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        rate = noised.rate.clamp_min(1e-12)
        return noise.weight(noised.time) * rate / (noised.rate + self.plus)


@dataclass(frozen=True)
class Decay:
    """-alpha'(t) / alpha(t), the rate at which clean tokens are lost: score entropy's weight (SEDD, arXiv:2310.16834)."""

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        return noise.weight(noised.time) * noised.rate / (1.0 - noised.rate)


@dataclass(frozen=True)
class InverseTime:
    """1 / t, whatever the schedule."""

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        return 1.0 / noised.time


@dataclass(frozen=True)
class Remaining:
    """1 - t: Dream's "linear" time reweighting."""

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        return 1.0 - noised.time


@dataclass(frozen=True)
class Cart:
    """Context-adaptive token reweighting (Dream, arXiv:2508.15487): a masked token weighs more the nearer its context.

    w_i = 1/2 sum of p (1 - p)^(|i - j| - 1) over the columns j of the document that are not masked, prompt and padding
    included. p: Dream's function has .8 for a default, dllm .3.

    late    as dllm before v0.1.0 had it (its issue 92): distances are counted one too few, so that the nearest context
            counts nothing
    """

    p: float = 0.8
    late: bool = False

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        column = torch.arange(canvas.tokens.shape[1], device=canvas.tokens.device)
        near = self.geometric((column[None, :] - column[:, None]).abs())
        same = canvas.document[:, :, None] == canvas.document[:, None, :]
        context = (~noised.hit)[:, None, :] & same
        return (context * near).sum(-1) * noised.hit

    def geometric(self, distance: Tensor) -> Tensor:
        """Half the geometric probability of a distance >= 1; 0 for distance 0."""
        if self.late:
            distance = (distance - 1).clamp_min(0)
        share = 0.5 * self.p * (1.0 - self.p) ** (distance - 1).clamp_min(0).double()
        return torch.where(distance > 0, share, 0.0).float()
