"""Sorting of 2 to 8 letters, repeats allowed: `sort: k f b =` is answered by ` b f k`. Exact match."""

from __future__ import annotations

import random

from ..task import Problem, Task, exact
from .reverse import letters


def _make(rng: random.Random) -> tuple[str, Problem]:
    items = letters(rng)
    given = " ".join(items)
    return given, Problem(f"sort: {given} =", " " + " ".join(sorted(items)), 12)


TASK = Task("sort", _make, exact)
