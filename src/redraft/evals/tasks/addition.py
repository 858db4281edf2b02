"""Addition of two 3-digit numbers: `727+511=` is answered by `1238`, `123+456=` by ` 579` (a space where there are no
thousands, so that each digit has its place). Exact match, blanks aside.

810,000 problems, split between training and evaluation. A small part of training uses numbers of one and two digits.
"""

from __future__ import annotations

import random

from ..task import Problem, Task, exact


def _problem(a: int, b: int) -> tuple[str, Problem]:
    return f"{a}+{b}", Problem(f"{a}+{b}=", f"{a + b}" if a + b > 999 else f" {a + b}", 8)


def _make(rng: random.Random) -> tuple[str, Problem]:
    return _problem(rng.randint(100, 999), rng.randint(100, 999))


def _practise(rng: random.Random) -> tuple[str, Problem]:
    if rng.random() < 0.94:
        return _make(rng)
    return _problem(rng.randrange(10 ** rng.randint(1, 3)), rng.randrange(10 ** rng.randint(1, 3)))


TASK = Task("addition", _make, exact, _practise)
