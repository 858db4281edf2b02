"""What a run did: which token was committed, edited or taken back at which forward, how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .loop import Step


@dataclass(frozen=True)
class Change:
    """One column's change. forward: 1 for the first; column: on the canvas; confidence: the score it was committed with; logp: nats."""

    forward: int
    column: int
    token: int
    kind: Literal["commit", "edit", "drop"]
    confidence: float
    logp: float


class Trajectory(Sequence[Change]):
    """A request's changes in order; `start` is the canvas column of the answer's first place."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.changes: list[Change] = []

    def __len__(self) -> int:
        return len(self.changes)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self.changes[index]

    def forwards(self) -> list[list[Change]]:
        """The changes of each forward that changed something."""
        groups: dict[int, list[Change]] = {}
        for change in self.changes:
            groups.setdefault(change.forward, []).append(change)
        return list(groups.values())


def record(trajectories: Sequence[Trajectory], step: Step) -> None:
    """Adds a step's changes to its requests' trajectories."""
    rows, columns = step.changed.nonzero(as_tuple=True)
    after = step.after
    values = zip(
        rows.tolist(), columns.tolist(), after.tokens[rows, columns].tolist(), after.known[rows, columns].tolist(),
        step.before.known[rows, columns].tolist(), after.conf[rows, columns].tolist(), after.logp[rows, columns].tolist(), strict=True,
    )  # fmt: skip
    forwards = after.nfe.tolist()
    for row, column, token, known, was, conf, logp in values:
        if not known and not was:
            continue  # noise on an open place is no decision
        kind: Literal["commit", "edit", "drop"] = "drop" if not known else "edit" if was else "commit"
        trajectories[step.rows[row]].changes.append(Change(forwards[row], column, token, kind, conf, logp))
