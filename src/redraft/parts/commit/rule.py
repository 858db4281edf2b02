"""The transition of confidence decoders: score, select, revise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...core.slots import Commit, Leaves, Revise, Score, Select
from ...core.types import Prediction, Segments, State, Transition
from ..revise.none import None_ as NoRevise
from ..score.confidence import Confidence
from ..select.quota import Quota


@dataclass(frozen=True)
class Rule(Commit):
    """Score the candidates, select some, revise what stands. The parts' memories live side by side, prefixed by their names."""

    score: Score = field(default_factory=Confidence)
    select: Select = field(default_factory=Quota)
    revise: Revise = field(default_factory=NoRevise)

    def init(self, s: State) -> dict[str, Tensor]:
        return {f"{name}.{k}": v for name in ("select", "revise") for k, v in getattr(self, name).init(s).items()}

    def wants(self, s: State, seg: Segments) -> Tensor | None:
        wanted = [w for part in (self.score, self.select, self.revise) if (w := part.wants(s, seg)) is not None]
        return None if not wanted else torch.stack(wanted).any(0)

    def step(self, s: State, seg: Segments, pred: Prediction, cand: Tensor, m: Leaves) -> tuple[Transition, Leaves]:
        score = self.score.score(s, seg, pred)
        pick, select = self.select.select(s, seg, pred, score, cand, inner(m, "select"))
        edit, drop, busy, revise = self.revise.revise(s, seg, pred, pick, inner(m, "revise"))
        leaves = {**{f"select.{k}": v for k, v in select.items()}, **{f"revise.{k}": v for k, v in revise.items()}}
        return Transition(pick | edit, pred.token, drop, busy, score), leaves


def inner(m: Mapping[str, Tensor], name: str) -> Leaves:
    return {k.removeprefix(f"{name}."): v for k, v in m.items() if k.startswith(f"{name}.")}
