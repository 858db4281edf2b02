"""Uniform noise: a token becomes any token of the vocabulary, itself included (UDLM, arXiv:2412.10193; Duo,
2506.10892)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.draws import Draws, Places
from ..core.traits import Traits
from .schedules import Linear, Schedule, rate, weight


def random_tokens(uniform: Tensor, vocab: int, without: int | None = None) -> Tensor:
    """int64 ids from uniform numbers; never `without`."""
    if without is None:
        return (uniform.double() * vocab).long().clamp_max(vocab - 1)
    ids = (uniform.double() * (vocab - 1)).long().clamp_max(vocab - 2)
    return ids + (ids >= without)


@dataclass(frozen=True)
class Uniform:
    """A column is redrawn with probability 1 - alpha(t); the mask token, where there is one, is never drawn."""

    schedule: Schedule = Linear()

    def rate(self, t: Tensor) -> Tensor:
        return rate(self.schedule, t)

    def weight(self, t: Tensor) -> Tensor:
        return weight(self.schedule, t)

    def fill(self, canvas: Places, tokens: Tensor, hit: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        return torch.where(hit, random_tokens(draws.column(canvas, "token"), traits.vocab, traits.mask), tokens)


def posterior(p: Tensor, seen: Tensor, alpha_s: Tensor, alpha_t: Tensor) -> Tensor:
    """q(z_s | z_t = seen, x ~ p) for s < t, by Bayes (UDLM, equation 8, the clean token's one-hot in p's place).

    p (..., V) over all tokens of the noise, seen (...) int64, alpha_s > alpha_t (...) -> (..., V), sums to one.
    """
    vocab = p.shape[-1]
    alpha_s, alpha_t = alpha_s[..., None], alpha_t[..., None]
    step = alpha_t / alpha_s
    here = torch.zeros_like(p).scatter(-1, seen[..., None], 1.0)
    top = (alpha_t * vocab * p + step - alpha_t) * here + (alpha_s - alpha_t) * p
    even = (1.0 - step) * (1.0 - alpha_s) / vocab
    return (top + even) / (alpha_t * vocab * p.gather(-1, seen[..., None]) + 1.0 - alpha_t)
