"""Noise that masks some tokens and replaces others by wrong ones, so that the model learns to overwrite too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.draws import Draws, Places
from ..core.errors import BadInput
from ..core.traits import Traits
from .absorbing import mask_of
from .uniform import random_tokens


def mask_or_token(canvas: Places, tokens: Tensor, hit: Tensor, share: Tensor, draws: Draws, traits: Traits) -> Tensor:
    """Hit columns become the mask with probability `share` (B, T), else any token but the mask."""
    wrong = random_tokens(draws.column(canvas, "token"), traits.vocab, traits.mask)
    masked = draws.column(canvas, "masked") < share
    return torch.where(hit, torch.where(masked, mask_of(traits), wrong), tokens)


@dataclass(frozen=True)
class TokenEdits:
    """Masked with probability t; a token left visible is replaced by a random one with probability `wrong` (LLaDA2.1's
    mask-to-token and token-to-token streams in one, arXiv:2602.08676). Both kinds are hit."""

    wrong: float = 0.1

    def rate(self, t: Tensor) -> Tensor:
        return t + (1.0 - t) * self.wrong

    def weight(self, t: Tensor) -> Tensor:
        raise BadInput("token edits have no likelihood bound, so expected another weight than Bound; take Flat.")

    def fill(self, canvas: Places, tokens: Tensor, hit: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        return mask_or_token(canvas, tokens, hit, t / self.rate(t).clamp_min(1e-9), draws, traits)


@dataclass(frozen=True)
class MixedPrior:
    """Masked with probability 1 - cos(pi t / 2), random with sin(pi t / 2) + cos(pi t / 2) - 1, else clean (BARD's Mix
    prior). BARD's Edit prior on a canvas of fixed length is substitution: `noise.uniform.Uniform` at times 0.05 to 0.2."""

    def rate(self, t: Tensor) -> Tensor:
        return (math.pi / 2 * t).sin()

    def weight(self, t: Tensor) -> Tensor:
        raise BadInput("the mixed prior has no likelihood bound, so expected another weight than Bound; take Flat.")

    def fill(self, canvas: Places, tokens: Tensor, hit: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        masked = 1.0 - (math.pi / 2 * t).cos()
        return mask_or_token(canvas, tokens, hit, masked / self.rate(t).clamp_min(1e-9), draws, traits)
