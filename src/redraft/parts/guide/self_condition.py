"""Self-conditioning: each step is given what the step before expected (arXiv:2208.04202; DiffusionGemma)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ...core.slots import Guide, Leaves
from ...core.types import NEVER, Ask, Kind, Prediction, State
from ...ops.selection import amin_where


@dataclass(frozen=True)
class SelfCondition(Guide):
    """Feeds the expected embeddings of the previous step back while the same canvas is open; a canvas' first step
    gets none. The embeddings stay with the executor, as K/V does; only the first open column they belong to is
    remembered here."""

    needs: ClassVar[tuple[str, ...]] = ("uniform",)
    leaves: ClassVar[Mapping[str, Kind]] = {"at": "row"}

    def init(self, s: State) -> dict[str, Tensor]:
        return {"at": torch.full_like(s.start, -1)}

    def asks(self, s: State, ask: Ask, m: Leaves) -> tuple[Ask, ...]:
        return (replace(ask, soft=front(s) == m["at"], top=1),)

    def merge(
        self, s: State, asks: tuple[Ask, ...], preds: tuple[Prediction, ...], m: Leaves
    ) -> tuple[Prediction, Tensor | None, Leaves]:
        return preds[0], None, {"at": torch.where(preds[0].got.any(1), front(s), m["at"])}


def front(s: State) -> Tensor:
    """(B,) int64: the first unknown column."""
    return amin_where(s.columns.expand_as(s.tokens), s.unknown, NEVER)[:, 0]
