"""Curricula: scalars (or whole parts) of an objective as functions of the run's progress, declared as values.

A Curve names places inside a program by dotted paths ("layout.block", "times.block", "auxiliary.0.share") and gives
their value at each step; `at` makes the program of that step.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ..core.errors import BadInput

T = TypeVar("T")


class Shape(Protocol):
    def value(self, progress: float) -> Any:
        """The value at progress in [0, 1], the elapsed share of the run."""
        ...


@dataclass(frozen=True)
class Steps:
    """(from which share of the run on, value): piecewise constant; values may be numbers or parts."""

    points: tuple[tuple[float, Any], ...]

    def value(self, progress: float) -> Any:
        return max((p for p in self.points if p[0] <= progress), key=lambda p: p[0], default=self.points[0])[1]


@dataclass(frozen=True)
class Ramp:
    """From `first` to `last` between the shares `start` and `end` of the run, linearly."""

    first: float
    last: float
    start: float = 0.0
    end: float = 1.0

    def value(self, progress: float) -> float:
        share = (progress - self.start) / max(self.end - self.start, 1e-9)
        return self.first + (self.last - self.first) * min(max(share, 0.0), 1.0)


@dataclass(frozen=True)
class Doubling:
    """A whole number that doubles from `first` to `last` in equal parts of [start, end] (block growth, NBDiff)."""

    first: int
    last: int
    start: float = 0.0
    end: float = 1.0

    def value(self, progress: float) -> int:
        num = round(math.log2(self.last / self.first)) + 1
        share = (progress - self.start) / max(self.end - self.start, 1e-9)
        return int(self.first * 2 ** min(max(int(share * num), 0), num - 1))


@dataclass(frozen=True)
class Curve:
    """One schedule for one or several places of a program."""

    paths: tuple[str, ...]
    shape: Shape


def put(value: T, path: str, new: Any) -> T:
    """A copy of a frozen value with `new` at a dotted path; whole numbers name places in tuples."""
    name, _, rest = path.partition(".")
    if isinstance(value, tuple):
        index = int(name)
        inner = put(value[index], rest, new) if rest else new
        return (*value[:index], inner, *value[index + 1 :])  # type: ignore[return-value]
    if not dataclasses.is_dataclass(value) or not any(f.name == name for f in dataclasses.fields(value)):
        raise BadInput(f"expected a field of {type(value).__name__}, found {name!r} in the curriculum's path {path!r}.")
    old = getattr(value, name)
    if not rest and isinstance(old, int) and not isinstance(old, bool) and isinstance(new, float):
        new = round(new)
    changed: T = dataclasses.replace(value, **{name: put(old, rest, new) if rest else new})  # type: ignore[type-var]
    return changed


def at(program: T, curriculum: tuple[Curve, ...], progress: float) -> T:
    """The program at this point of the run."""
    for curve in curriculum:
        new = curve.shape.value(progress)
        for path in curve.paths:
            program = put(program, path, new)
    return program


def values(curriculum: tuple[Curve, ...], progress: float) -> dict[str, Any]:
    """What is logged and plotted: each first path's value."""
    return {curve.paths[0]: curve.shape.value(progress) for curve in curriculum}
