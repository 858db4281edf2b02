"""The slots of a method: what each may see and must return. Defaults do nothing, so the loop has no `if`.

All are pure, row-wise (row i alone gives what row i in a batch gives) and free of host syncs. `m` is the part's own memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from .part import Part
from .traits import Traits
from .types import Ask, Draw, Edit, Prediction, Prompt, Segments, Sight, State, Transition

Leaves = Mapping[str, Tensor]


class Canvas(Part):
    """Where the answer grows."""

    def start(self, prompts: Sequence[Prompt], traits: Traits, device: torch.device) -> State:
        raise TypeError(f"{type(self).__name__} lays no canvas")

    def hold(self, s: State, pred: Prediction, m: Leaves) -> Tensor | None:
        """(B,) bool: this forward ends no step."""
        return None

    def edit(
        self, s: State, seg: Segments, pred: Prediction, pick: Tensor, hold: Tensor, m: Leaves
    ) -> tuple[Edit | None, Leaves]:
        return None, m


class Schedule(Part):
    """Which columns may commit now. It alone owns block indices."""

    def segments(self, s: State, m: Leaves) -> Segments:
        raise TypeError(f"{type(self).__name__} opens nothing")

    def narrow(self, s: State, seg: Segments, pred: Prediction, m: Leaves, hold: Tensor) -> tuple[Segments, Leaves]:
        """The segments once the prediction is seen."""
        return seg, m

    def advance(self, s: State, m: Leaves, hold: Tensor, busy: Tensor) -> tuple[Leaves, Tensor]:
        """Memory for the next step, and (B,) bool: a segment was finished in this one."""
        return m, torch.zeros_like(hold)


class Look(Part):
    """Who sees whom (the slot `sight`)."""

    def sight(self, s: State) -> Sight:
        raise TypeError(f"{type(self).__name__} sees nothing")


class Cache(Part):
    """The ask's masks: what runs, what is read from stored K/V, what is written."""

    def plan(
        self, s: State, seg: Segments, want: Tensor, sight: Sight, m: Leaves
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """run, read, write, want, each (B, T) bool."""
        raise TypeError(f"{type(self).__name__} plans nothing")

    def advance(self, s: State, m: Leaves, hold: Tensor) -> Leaves:
        return m


class Drawing(Part):
    """How tokens and confidences come from logits (the slot `draw`)."""

    def draw(self, s: State, seg: Segments, m: Leaves) -> Draw:
        return Draw()


class Guide(Part):
    """Changes predictions before they are used."""

    def asks(self, s: State, ask: Ask, m: Leaves) -> tuple[Ask, ...]:
        """A fixed number of asks."""
        return (ask,)

    def merge(
        self, s: State, asks: tuple[Ask, ...], preds: tuple[Prediction, ...], m: Leaves
    ) -> tuple[Prediction, Tensor | None, Leaves]:
        """One prediction, (B,) bool rows to hold or None, memory."""
        return preds[0], None, m


class Commit(Part):
    """The transition."""

    def step(self, s: State, seg: Segments, pred: Prediction, cand: Tensor, m: Leaves) -> tuple[Transition, Leaves]:
        """cand (B, T) bool: open, unknown, predicted columns of rows that are not held."""
        raise TypeError(f"{type(self).__name__} commits nothing")


class Score(Part):
    """Higher commits first."""

    def score(self, s: State, seg: Segments, pred: Prediction) -> Tensor:
        """(B, T) float."""
        raise TypeError(f"{type(self).__name__} scores nothing")


class Select(Part):
    """Which candidates to commit; at least one in every segment that must progress."""

    def select(
        self, s: State, seg: Segments, pred: Prediction, score: Tensor, cand: Tensor, m: Leaves
    ) -> tuple[Tensor, Leaves]:
        """pick (B, T) bool, a subset of cand."""
        raise TypeError(f"{type(self).__name__} selects nothing")


class Revise(Part):
    """What to take back or overwrite."""

    def revise(
        self, s: State, seg: Segments, pred: Prediction, pick: Tensor, m: Leaves
    ) -> tuple[Tensor, Tensor, Tensor, Leaves]:
        """edit (B, T) bool: known columns that take pred.token; drop (B, T) bool; busy (B,) bool; memory."""
        none = torch.zeros_like(pick)
        return none, none, none[:, 0], m


class Stop(Part):
    """Why a request ends."""

    settles: ClassVar[bool] = False  # whether settle can ever say yes

    def settle(self, s: State, pred: Prediction, hold: Tensor, m: Leaves) -> tuple[Tensor, Leaves]:
        """(B,) bool: commit every predicted unknown column now and finish."""
        return torch.zeros_like(hold), m

    def done(self, s: State, moved: Tensor, busy: Tensor, m: Leaves) -> Tensor:
        """(B,) int8 finish code, 0 = go on. moved (B,) bool: the schedule finished a segment in this step; busy (B,) bool: the commit
        keeps a full one open."""
        raise TypeError(f"{type(self).__name__} never ends")
