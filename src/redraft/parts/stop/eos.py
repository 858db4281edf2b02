"""Stop at the end of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...core.slots import Leaves, Stop
from ...core.types import EOS, LENGTH, NEVER, State
from ...ops.selection import amax_where, amin_where
from .full import open_places


@dataclass(frozen=True)
class Eos(Stop):
    """ids: what ends an answer, by default the model's.

    when  "now": as soon as an end stands in the answer and nothing before it is unknown (the text is final)
          "block": when a block is finished and an end stands anywhere in the answer (SDAR, LLaDA2.0)
          "either": whichever comes first
    fresh: "now" counts only in a step that commits an end, wherever it stands (LLaDA2.0's early return looks no further)
    whole: without an end, fill up the last block too (as the references do) instead of ending when all places asked for are known
    """

    when: Literal["now", "block", "either"] = "now"
    ids: tuple[int, ...] = ()
    whole: bool = False
    fresh: bool = False

    def done(self, s: State, moved: Tensor, busy: Tensor, m: Leaves) -> Tensor:
        found = torch.zeros_like(s.known)
        for token in self.ids or s.traits.eos:
            found = found | (s.tokens == token)
        pinned = amax_where(s.columns.expand_as(s.tokens), s.fixed & s.answer, -1)
        found = found & s.known & s.answer & (s.columns >= pinned)  # pinned text is part of the answer
        hit = torch.zeros_like(moved)
        if self.when != "block":
            end = amin_where(s.columns.expand_as(s.tokens), found, NEVER)
            now = (end[:, 0] < NEVER) & ~(s.unknown & (s.columns < end)).any(1)
            if self.fresh:
                now = now & (found & (s.when == s.when.amax(1, keepdim=True))).any(1)
            hit = hit | now
        if self.when != "now":
            hit = hit | (moved & found.any(1))
        code = torch.where(open_places(s, self.whole).any(1) | busy, 0, LENGTH)
        return torch.where(hit, EOS, code).to(torch.int8)
