"""A canvas of whole blocks filled with uniform noise: what models without a mask token start from (DiffusionGemma)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from ...core.slots import Canvas
from ...core.traits import Traits
from ...core.types import Prompt, State
from ._lay import check_pins, lay


@dataclass(frozen=True)
class Uniform(Canvas):
    """The answer is rounded up to a multiple of `block` places (0: the model's block); a gap before a suffix keeps
    its length. Every open place starts as a random id.

    forwards  most forwards per block, unless the request has a budget of its own
    """

    block: int = 0
    forwards: int = 64
    needs: ClassVar[tuple[str, ...]] = ("uniform",)

    def start(self, prompts: Sequence[Prompt], traits: Traits, device: torch.device) -> State:
        size = self.block or max(traits.block, 1)
        whole = []
        for p in prompts:
            check_pins(p)
            num_blocks = -(-p.num_new // size)
            length = p.num_new if p.suffix else num_blocks * size
            whole.append(replace(p, num_new=length, budget=p.budget or num_blocks * self.forwards + 1))
        s = lay(whole, traits, device)
        noise = (s.noise.uniform(s.seed, s.step, s.columns, 4) * traits.vocab).long()
        goal = s.start + torch.tensor([p.num_new for p in prompts], dtype=torch.int64, device=device)
        return replace(s, tokens=torch.where(s.unknown, noise, s.tokens), goal=goal)
