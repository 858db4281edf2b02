"""The block model's bound, all blocks in one forward."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from ...core.draws import Keyed
from ...core.errors import BadInput, Unsupported
from ...core.traits import Traits
from ..layouts import TwoStream
from ..objective import Objective
from .estimator import row_of
from .groups import Groups
from .sampled import Design, Mask, Sampled, by_count


@dataclass(frozen=True)
class Blockwise(Sampled):
    """Clean and noised stream side by side (BD3-LM, arXiv:2503.09573): one forward draws every block once. Counts of
    masked columns are spread over the blocks and over a pass of `members` looks. Exact at block size 1.

    block  in place of the model's block size
    """

    block: int = 0
    members: int = 4

    def reading(self, model: Any, traits: Traits) -> Objective:
        if self.row is None and traits.attention != "block":
            raise Unsupported(
                f"the blockwise estimator expects a block model, found {traits.attention} attention; "
                "take exact_count or left_to_right."
            )
        row = self.row or row_of(model, traits)
        if not isinstance(row.layout, TwoStream):
            raise BadInput("the blockwise estimator expects a two-stream layout; give a row that has one.")
        return dataclasses.replace(row, layout=dataclasses.replace(row.layout, block=self.block or row.layout.block))

    def design(self, num_samples: int) -> Design:
        members = min(self.members, max(num_samples // 2, 1))
        return Design((1.0,), max(num_samples // members, 1), members)

    def mask(self, groups: Groups, draws: Keyed, stratum: int, design: Design, member: int) -> Mask:
        size = groups.size.clamp_min(1)
        start = draws.document(groups.canvas, "count").double()
        spread = (start + member / design.members + groups.index * 0.6180339887498949) % 1.0
        count = 1 + torch.floor(spread * size).long().clamp_max(groups.size - 1)
        looks = Keyed(draws.seed, draws.draw * design.members + member)
        return by_count(groups, looks, count.clamp_min(1)), size / count.clamp_min(1), count / size
