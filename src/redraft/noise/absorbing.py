"""Absorbing noise: a token becomes the mask token with probability t and then stays (MDLM, arXiv:2406.07524; LLaDA,
2502.09992).

The same object is the blank canvas of decoding: at t = 1 every open column holds `mask`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Absorbing:
    """Forward process with keep probability alpha(t) = 1 - t."""

    mask: int

    def corrupt(self, tokens: Tensor, rate: Tensor, chance: Tensor, open_: Tensor) -> tuple[Tensor, Tensor]:
        """Noised tokens and which were hit; all (B, T): rate in [0, 1], chance uniform in [0, 1), open_ bool may be
        hit."""
        hit = (chance < rate) & open_
        return torch.where(hit, self.mask, tokens), hit

    def weight(self, rate: Tensor) -> Tensor:
        """-alpha'(t) / (1 - alpha(t)) = 1 / t, the likelihood bound's weight of a masked token."""
        return 1.0 / rate.clamp_min(1e-3)
