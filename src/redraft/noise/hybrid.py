"""Hybrid noise: a token becomes the mask or any other token, in shares that move with time (GIDD, arXiv:2503.04482).

    c(t) = B (t (1 - t))^(gamma / 2),  B = 2^gamma p_uniform / (1 - p_uniform)
    q_t(z | x) = ((1 - t) [z = x] + t [z = mask] + c(t) / N [z is not the mask]) / (1 + c(t)),  N = vocab - 1

p_uniform is the share of random tokens among the noised ones at t = 1/2; with 0 this is absorbing noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.draws import Draws, Places
from ..core.traits import Traits
from .absorbing import mask_of
from .edits import mask_or_token
from .schedules import Linear, Schedule, weight


@dataclass(frozen=True)
class Hybrid:
    """floor   p_uniform is never below it: the reference keeps e^-20 so that its logarithms exist; 0 is exact"""

    p_uniform: float = 0.1
    gamma: float = 1.0
    floor: float = 0.0

    @property
    def share(self) -> float:
        """p_uniform, floored."""
        return min(max(self.p_uniform, self.floor), 1.0 - self.floor)

    @property
    def scale(self) -> float:
        """B."""
        return math.pow(2.0, self.gamma) * self.share / (1.0 - self.share)

    def spread(self, t: Tensor) -> Tensor:
        """c(t)."""
        return self.scale * (t * (1.0 - t)).clamp_min(0.0) ** (self.gamma / 2)

    def spread_slope(self, t: Tensor) -> Tensor:
        """c'(t)."""
        inside = (t * (1.0 - t)).clamp_min(1e-12)
        return self.spread(t) * (self.gamma / 2) * (1.0 - 2.0 * t) / inside

    def alpha(self, t: Tensor) -> Tensor:
        """The weight of [z = x] in q_t, beside the random tokens that are x by chance."""
        return (1.0 - t) / (1.0 + self.spread(t))

    def alpha_ratio(self, t: Tensor) -> Tensor:
        """alpha'(t) / alpha(t)."""
        return -1.0 / (1.0 - t) - self.spread_slope(t) / (1.0 + self.spread(t))

    def beta(self, t: Tensor, traits: Traits) -> Tensor:
        """(..., vocab) what q_t gives every token whatever x is; sums with alpha to one."""
        mask, c = mask_of(traits), self.spread(t)[..., None]
        out = (c / (traits.vocab - 1) / (1.0 + c)).repeat(*(1,) * t.ndim, traits.vocab)
        out[..., mask] = t / (1.0 + c[..., 0])
        return out

    def distribution(self, p: Tensor, t: Tensor, traits: Traits) -> Tensor:
        """q_t(z | .) of a distribution p (..., vocab) over clean tokens; t (...)."""
        return self.alpha(t)[..., None] * p + self.beta(t, traits)

    def sample(self, tokens: Tensor, t: Tensor, uniform: Tensor, traits: Traits) -> Tensor:
        """z by inverting the cumulated q_t(. | tokens); all (...)."""
        clean = F.one_hot(tokens, traits.vocab).to(t.dtype)
        below = self.distribution(clean, t, traits).cumsum(-1)
        return (uniform[..., None] >= below).sum(-1).clamp_max(traits.vocab - 1)

    def rate(self, t: Tensor) -> Tensor:
        return 1.0 - self.alpha(t)

    def weight(self, t: Tensor) -> Tensor:
        return -self.alpha_ratio(t) * self.alpha(t) / self.rate(t).clamp_min(1e-12)

    def fill(self, canvas: Places, tokens: Tensor, hit: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        share = t / (t + self.spread(t)).clamp_min(1e-12)
        return mask_or_token(canvas, tokens, hit, share, draws, traits)


@dataclass(frozen=True)
class TwoRates:
    """Tokens become the mask at rate 1 - gamma and any token but the mask at rate gamma of one process (HDLM's
    gamma-hybrid, arXiv:2504.06416): with sigma = -log alpha(t), a token is masked with probability
    1 - e^(-(1 - gamma) sigma), else redrawn with 1 - e^(-gamma sigma)."""

    gamma: float = 0.01
    schedule: Schedule = Linear(1e-4)

    def sigma(self, t: Tensor) -> Tensor:
        """The total noise up to t."""
        return -self.schedule.alpha(t).log()

    def rate(self, t: Tensor) -> Tensor:
        return 1.0 - self.schedule.alpha(t)

    def weight(self, t: Tensor) -> Tensor:
        return weight(self.schedule, t)

    def masked(self, t: Tensor) -> Tensor:
        """The probability of the mask."""
        return -torch.expm1(-(1.0 - self.gamma) * self.sigma(t))

    def distribution(self, tokens: Tensor, t: Tensor, traits: Traits) -> Tensor:
        """(..., vocab) q_t(. | tokens); tokens and t (...)."""
        mask, gone, alpha = mask_of(traits), self.masked(t)[..., None], self.schedule.alpha(t)[..., None]
        even = (1.0 - gone - alpha).clamp_min(0.0) / (traits.vocab - 1)
        q = even + alpha * F.one_hot(tokens, traits.vocab)
        column = torch.arange(traits.vocab, device=t.device)
        return torch.where(column == mask, gone, q)

    def fill(self, canvas: Places, tokens: Tensor, hit: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        share = self.masked(t) / self.rate(t).clamp_min(1e-12)
        return mask_or_token(canvas, tokens, hit, share, draws, traits)
