"""Reversal of 2 to 8 letters: `reverse: k f b =` is answered by ` b f k`. Exact match.

Problems of two and three letters are few, so single keys repeat in training; none of the held-out ones is among them.
"""

from __future__ import annotations

import random
import string

from ..task import Problem, Task, exact


def letters(rng: random.Random, low: int = 2, high: int = 8) -> list[str]:
    return [rng.choice(string.ascii_lowercase) for _ in range(rng.randint(low, high))]


def _make(rng: random.Random) -> tuple[str, Problem]:
    items = letters(rng)
    given = " ".join(items)
    return given, Problem(f"reverse: {given} =", " " + " ".join(reversed(items)), 12)


TASK = Task("reverse", _make, exact)
