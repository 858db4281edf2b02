"""Overwrite committed tokens the model now reads otherwise (LLaDA2.1's token editing, arXiv:2602.08676)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.part import Kind
from ...core.slots import Leaves, Revise
from ...core.types import Prediction, Segments, State


@dataclass(frozen=True)
class Edit(Revise):
    """In the open block, a committed token whose prediction differs with probability above the bar is replaced. A full block stays open
    for at most `post` more passes, until a pass edits nothing.

    prompt  blanks inside the prompt are edited too once they are filled (the authors' code fills them but never edits them)
    """

    bar: float = 0.9
    post: int = 16
    prompt: bool = True
    needs: ClassVar[tuple[str, ...]] = ("edits",)
    reads: ClassVar[tuple[str, ...]] = ("prob",)
    leaves: ClassVar[Mapping[str, Kind]] = {"passes": "row"}

    def __post_init__(self) -> None:
        self.within(0, 2**31, "post")

    def init(self, s: State) -> dict[str, Tensor]:
        return {"passes": torch.zeros_like(s.start)[:, None]}

    def wants(self, s: State, seg: Segments) -> Tensor | None:
        return seg.open & s.valid & self.free(s)

    def free(self, s: State) -> Tensor:
        """(B, T) bool: columns that may be edited."""
        return ~s.fixed if self.prompt else ~s.fixed & (s.columns >= s.start[:, None])

    def revise(
        self, s: State, seg: Segments, pred: Prediction, pick: Tensor, m: Leaves
    ) -> tuple[Tensor, Tensor, Tensor, Leaves]:
        old = seg.open & s.known & self.free(s) & pred.got
        edit = old & (pred.token != s.tokens) & (pred.read("prob") > self.bar)
        passes = torch.where(seg.age[:, :1] == 0, 0, m["passes"])
        was_full = ~(seg.open & s.unknown).any(1, keepdim=True)
        passes = passes + was_full
        full = ~(seg.open & s.unknown & ~pick).any(1, keepdim=True)
        busy = full & torch.where(was_full, edit.any(1, keepdim=True), True) & (passes < self.post)
        return edit, torch.zeros_like(edit), busy[:, 0], {"passes": passes}
