"""Randomness of training, keyed by what it is for: (seed, document, draw, purpose, place), never by batch or process.

The same documents get the same noise in any batch, packing, padding and number of processes, and after a resume.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .noise import keyed_uniform

BELOW_ONE = 1.0 - 2.0**-24  # the largest float32 under 1


class Places(Protocol):
    """What draws read of a canvas: the document of a column and the column's place in it, (B, T) int64."""

    @property
    def sample(self) -> Tensor: ...
    @property
    def place(self) -> Tensor: ...


class Draws(Protocol):
    """A source of uniform float32 numbers in (0, 1)."""

    def document(self, canvas: Places, name: str) -> Tensor:
        """(B, T), one number a document."""
        ...

    def block(self, canvas: Places, name: str, block: int) -> Tensor:
        """(B, T), one number for every `block` places of a document."""
        ...

    def column(self, canvas: Places, name: str, size: int = 0) -> Tensor:
        """(B, T), or (B, T, size) for size > 0."""
        ...

    def group(self, numbers: Tensor, name: str) -> Tensor:
        """One number for each int64 in `numbers`, for whatever it counts; same shape."""
        ...


@dataclass(frozen=True)
class Keyed:
    """The default: a hash. `draw` tells several noisings of one document apart."""

    seed: int
    draw: int = 0

    def _float(self, value: Tensor) -> Tensor:
        return value.float().clamp_max_(BELOW_ONE)

    def document(self, canvas: Places, name: str) -> Tensor:
        return self._float(keyed_uniform(self.seed, canvas.sample, self.draw, key(name)))

    def block(self, canvas: Places, name: str, block: int) -> Tensor:
        return self._float(keyed_uniform(self.seed, canvas.sample, self.draw, key(name), canvas.place // block))

    def column(self, canvas: Places, name: str, size: int = 0) -> Tensor:
        keys: list[Tensor | int] = [self.seed, canvas.sample, self.draw, key(name), canvas.place]
        if size:
            keys = [k[..., None] if isinstance(k, Tensor) else k for k in keys]
            keys.append(torch.arange(size, device=canvas.sample.device))
        return self._float(keyed_uniform(*keys))

    def group(self, numbers: Tensor, name: str) -> Tensor:
        return self._float(keyed_uniform(self.seed, numbers, self.draw, key(name)))


def key(name: str) -> int:
    """A purpose's number."""
    return zlib.crc32(name.encode())


def normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones in (0, 1)."""
    return math.sqrt(2.0) * torch.erfinv(2.0 * uniform.double() - 1.0).float()
