"""The forward process: what a token becomes. Training corrupts with it; decoding's blank canvas is its end."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from ..core.draws import Draws, Places
from ..core.traits import Traits


class Noise(Protocol):
    """A noise process over tokens. `t` (B, T) in [0, 1]."""

    def rate(self, t: Tensor) -> Tensor:
        """(B, T) probability that a column is hit at time t."""
        ...

    def weight(self, t: Tensor) -> Tensor:
        """(B, T) a hit column's weight in the likelihood bound."""
        ...

    def fill(self, canvas: Places, tokens: Tensor, hit: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        """(B, T) tokens with the hit columns replaced."""
        ...


@runtime_checkable
class Fitted(Protocol):
    """A noise that needs to know the model, as the size of its vocabulary (Duo's Gaussian)."""

    def fitted(self, traits: Traits) -> Noise: ...


def fitted(noise: Noise, traits: Traits) -> Noise:
    """The noise for this model."""
    return noise.fitted(traits) if isinstance(noise, Fitted) else noise
