"""Classifier-free guidance (arXiv:2207.12598) as LLaDA does it: the other branch sees the prompt masked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from ...core.slots import Guide, Leaves
from ...core.types import Ask, Prediction, State


@dataclass(frozen=True)
class Cfg(Guide):
    """logits = (scale + 1) * conditional - scale * unconditional. The head is linear, so the executor mixes hidden states: no second
    tile of logits exists."""

    scale: float = 1.0
    needs: ClassVar[tuple[str, ...]] = ("mask",)

    def asks(self, s: State, ask: Ask, m: Leaves) -> tuple[Ask, ...]:
        mask = s.traits.mask if s.traits.mask is not None else 0
        blank = s.tokens.masked_fill(s.fixed, mask)
        return (
            replace(ask, weight=self.scale + 1.0, mix=0),
            replace(ask, tokens=blank, stream="uncond", weight=-self.scale, mix=0),
        )

    def merge(
        self, s: State, asks: tuple[Ask, ...], preds: tuple[Prediction, ...], m: Leaves
    ) -> tuple[Prediction, Tensor | None, Leaves]:
        return preds[0], None, m
