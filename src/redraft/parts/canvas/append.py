"""A canvas for models without a mask token: places hold nothing until they are written, and are never run before."""

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
class Append(Canvas):
    """Exactly as many places as asked for, for next-token decoding."""

    needs: ClassVar[tuple[str, ...]] = ("causal",)

    def start(self, prompts: Sequence[Prompt], traits: Traits, device: torch.device) -> State:
        return lay(prompts, traits, device)
