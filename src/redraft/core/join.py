"""Batching verb: put the requests of several States side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .types import State


def join_states(states: Sequence[State]) -> State:
    """One State of all rows, in order. Columns are padded on the right with columns that do not exist."""
    if len(states) == 1:
        return states[0]
    width = max(s.tokens.shape[1] for s in states)

    def cat(tensors: Sequence[Tensor], own: Sequence[int]) -> Tensor:
        wide = [
            F.pad(t, (0, 0) * (t.dim() - 2) + (0, width - n)) if n >= 0 else t
            for t, n in zip(tensors, own, strict=True)
        ]
        return torch.cat(wide)

    def is_column(name: str) -> bool:
        return bool(getattr(states[0], name).dim() >= 2)

    merged: dict[str, Any] = {}
    for f in fields(State):
        values = [getattr(s, f.name) for s in states]
        if isinstance(values[0], Tensor):
            merged[f.name] = cat(values, [s.tokens.shape[1] if is_column(f.name) else -1 for s in states])
    memory: dict[str, Mapping[str, Tensor]] = {}
    for part, leaves in states[0].memory.items():
        memory[part] = {
            name: cat(
                [s.memory[part][name] for s in states],
                [
                    s.tokens.shape[1] if leaf.dim() >= 2 and leaf.shape[1] == states[0].tokens.shape[1] else -1
                    for s in states
                ],
            )
            for name, leaf in leaves.items()
        }
    return replace(states[0], memory=memory, **merged)
