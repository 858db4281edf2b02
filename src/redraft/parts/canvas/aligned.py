"""A canvas that ends on a block border, so that a block model sees whole blocks as it did in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...core.slots import Canvas
from ...core.traits import Traits
from ...core.types import Prompt, State
from ._lay import lay


@dataclass(frozen=True)
class Aligned(Canvas):
    """Length rounded up to a multiple of `block` tokens, counted from position 0 (0: the model's block, if it needs
    whole ones). A gap before a suffix keeps
    its length."""

    block: int = 0
    needs: ClassVar[tuple[str, ...]] = ("mask",)

    def start(self, prompts: Sequence[Prompt], traits: Traits, device: torch.device) -> State:
        return lay(prompts, traits, device, self.block or (1 if traits.ragged else max(traits.block, 1)))
