"""No guidance: one forward, its prediction as it is."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.slots import Guide


@dataclass(frozen=True)
class None_(Guide):
    """The absent guide."""
