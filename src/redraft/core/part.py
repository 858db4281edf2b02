"""What every part is: a frozen value that declares what it needs, reads and keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .errors import BadInput
from .types import Kind as Kind
from .types import Segments, State

SLOTS = ("canvas", "schedule", "sight", "cache", "draw", "guide", "commit", "stop")
INNER = ("score", "select", "revise")  # slots of commit=rule(...)


@dataclass(frozen=True)
class Part:
    """A frozen row-wise rule. `m` in its methods is its own memory: leaves by name, as `init` returned them.

    needs   what the model must have: "mask", "block", "causal", "edits", "uniform"
    reads   fields of Prediction it uses
    leaves  kind of each memory leaf: row (B, ...), column (B, T, ...), pointer (B,) column numbers
    """

    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()
    leaves: ClassVar[Mapping[str, Kind]] = {}

    def within(self, low: float, high: float, *names: str) -> None:
        """For __post_init__: BadInput where one of the fields, if it is a number, lies outside [low, high]."""
        for name in names:
            value = getattr(self, name)
            if isinstance(value, int | float) and not low <= value <= high:
                raise BadInput(
                    f"expected {name} from {low} to {high} in {type(self).__name__.lower()}(), found {value}; change the value."
                )

    def init(self, s: State) -> Mapping[str, Tensor]:
        """The part's first memory."""
        return {}

    def wants(self, s: State, seg: Segments) -> Tensor | None:
        """(B, T) bool: predictions it needs beyond the open columns, or None."""
        return None
