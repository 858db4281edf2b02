"""Keep what is committed."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.slots import Revise


@dataclass(frozen=True)
class None_(Revise):
    """The absent revision."""
