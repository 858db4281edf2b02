"""Every error redraft raises on purpose: one sentence that says what was expected, what was found, and what to do.

RedraftError
├── BadInput          an argument or a prompt cannot be used as given
├── UnknownName       no method, part, model, task or argument of that name ("did you mean")
├── Unsupported       a method needs what this model lacks
├── CheckpointError   a model folder is missing, truncated, corrupt or of an unknown family
├── Unreachable       the hub cannot be reached or is switched off
└── Stopped           a training run cannot go on; its last checkpoint is whole
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RedraftError(Exception):
    """Base of all errors redraft raises on purpose; `str(error)` is one sentence for the user."""


class BadInput(RedraftError, ValueError):
    """An argument or a prompt cannot be used as given."""


class UnknownName(BadInput):
    """No such name; lists the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are: {', '.join(names) or 'none'}."
        super().__init__(f"no {kind} is named {name!r}; {hint}")
        self.name, self.known = name, names


class Unsupported(RedraftError):
    """A method needs what this model lacks; said before the first forward."""


class CheckpointError(RedraftError):
    """A model folder is missing, truncated, corrupt or of an unknown family."""


class Unreachable(RedraftError):
    """The hub cannot be reached or is switched off."""


class Stopped(RedraftError):
    """A training run cannot go on; its last checkpoint is whole."""
