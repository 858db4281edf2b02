"""Randomness keyed by what it is for, so that a request draws the same numbers alone, in any batch and in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Noise(Protocol):
    """A source of uniform numbers for the whole canvas."""

    def uniform(self, seed: Tensor, step: Tensor, columns: Tensor, draw: int) -> Tensor:
        """seed, step (B,), columns (1 | B, T) int64 -> (B, T) float64 in (0, 1)."""
        ...


_A, _B, _C = -7046029254386353131, -4658895280553007687, -7723592293110705685  # splitmix64's constants as int64


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical, not arithmetic


def mix(x: Tensor) -> Tensor:
    """splitmix64's finaliser on int64 (wrapping)."""
    x = (x ^ _shift(x, 30)) * _B
    x = (x ^ _shift(x, 27)) * _C
    return x ^ _shift(x, 31)


def keyed_uniform(*keys: Tensor | int) -> Tensor:
    """float64 in (0, 1) from broadcastable int64 keys."""
    state: Tensor = torch.zeros((), dtype=torch.int64)
    for key in keys:
        state = mix((state.to(key.device) if isinstance(key, Tensor) else state) + _A + key)
    return (_shift(state, 12).to(torch.float64) + 0.5) * 2.0**-52


@dataclass(frozen=True)
class KeyedNoise:
    """The default: a hash of (seed, step, column, draw)."""

    def uniform(self, seed: Tensor, step: Tensor, columns: Tensor, draw: int) -> Tensor:
        return keyed_uniform(seed[:, None], step[:, None], columns, draw)
