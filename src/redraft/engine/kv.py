"""Stored keys (rotated) and values: one dense table per stream, rows are slots, columns are canvas columns."""

from __future__ import annotations

import torch
from torch import Tensor


class KeyValues:
    """(layers, slots, columns, kv heads, head dim) twice, grown on demand. `has` (slots, columns) says which entries may be read."""

    def __init__(self, layers: int, heads: int, dim: int, dtype: torch.dtype, device: torch.device) -> None:
        self.shape = (layers, heads, dim)
        self.dtype, self.device = dtype, device
        self.k: list[Tensor] = []
        self.v: list[Tensor] = []
        self.has = torch.zeros(0, 0, dtype=torch.bool, device=device)

    def fit(self, slots: int, columns: int) -> None:
        """Room for at least so many slots and columns; what is stored stays."""
        old_slots, old_columns = self.has.shape
        if slots <= old_slots and columns <= old_columns:
            return
        slots, columns = max(slots, old_slots), max(columns, old_columns)
        layers, heads, dim = self.shape

        def grown(old: list[Tensor]) -> list[Tensor]:
            out = []
            for i in range(layers):
                new = torch.zeros(slots, columns, heads, dim, dtype=self.dtype, device=self.device)
                if old:
                    new[:old_slots, :old_columns] = old[i]
                out.append(new)
            return out

        self.k, self.v = grown(self.k), grown(self.v)
        has = torch.zeros(slots, columns, dtype=torch.bool, device=self.device)
        has[:old_slots, :old_columns] = self.has
        self.has = has
