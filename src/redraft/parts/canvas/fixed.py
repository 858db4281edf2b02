"""A canvas of fixed length: prompt, the new places, suffix."""

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
class Fixed(Canvas):
    """Exactly as many places as asked for."""

    needs: ClassVar[tuple[str, ...]] = ("mask",)

    def start(self, prompts: Sequence[Prompt], traits: Traits, device: torch.device) -> State:
        return lay(prompts, traits, device)
