"""The block model's bound, all blocks in one forward."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...core.draws import Keyed
from ...core.errors import BadInput, Unsupported
from ...core.traits import Traits
from ..layouts import TwoStream
from ..objective import Objective
from .estimator import opens, row_of
from .groups import Groups
from .sampled import Coupled

GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Blockwise(Coupled):
    """Clean and noised stream side by side (BD3-LM, arXiv:2503.09573): one forward draws every block once. Masks are
    coupled, and each block's count is another one, so that a forward holds all of them. Exact at block size 1.

    block  in place of the model's block size
    """

    block: int = 0

    def reading(self, model: Any, traits: Traits) -> Objective:
        if self.row is None and traits.attention != "block" and not opens(traits):
            raise Unsupported(
                f"the blockwise estimator expects a block model, found {traits.attention} attention; "
                "take coupled or left_to_right."
            )
        row = self.row or row_of(model, traits)
        if not isinstance(row.layout, TwoStream):
            raise BadInput("the blockwise estimator expects a two-stream layout; give a row that has one.")
        return dataclasses.replace(row, layout=dataclasses.replace(row.layout, block=self.block or row.layout.block))

    def start(self, groups: Groups, draws: Keyed) -> Tensor:
        return (draws.document(groups.canvas, "count").double() + groups.index * GOLDEN) % 1.0
