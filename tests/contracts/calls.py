"""Every call a decode makes into one part, with what went in and what came out, so that each can be made again otherwise."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from redraft import parts
from redraft.core.part import Part
from redraft.core.types import Prediction, State
from redraft.parts import ALL_SLOTS

EVERY = [(slot, name) for slot in ALL_SLOTS for name in parts.names(slot)]


def functions(cls: type[Part]) -> list[str]:
    """What the loop may call of a part, `start` apart (it takes prompts, not tensors) and `within` (a check at its making)."""
    own = [
        n
        for n, f in inspect.getmembers(cls, inspect.isfunction)
        if not n.startswith("_") and n not in ("start", "within")
    ]
    slot = next(base for base in cls.__mro__ if base.__module__ == "redraft.core.slots")
    return [n for n in own if hasattr(slot, n)]


def variants(cls: type[Part]) -> Iterator[Part]:
    """The part as it is by default, and with every word or switch that one of its fields allows, one at a time."""
    yield cls()
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        options = typing.get_args(hints[f.name]) if typing.get_origin(hints[f.name]) is typing.Literal else ()
        options = (True, False) if hints[f.name] is bool else options
        default = getattr(cls(), f.name)
        for option in options:
            if option != default:
                yield dataclasses.replace(cls(), **{f.name: option})
        if type(default) is int and f.name not in ("top_k",):
            yield dataclasses.replace(cls(), **{f.name: default + 3})
        if type(default) is float and default < 1:
            yield dataclasses.replace(cls(), **{f.name: default + 0.3})
        if isinstance(default, Part):
            for name in parts.names(parts.slot_of(default)):
                inner = parts.find(parts.slot_of(default), name)
                if inner not in (type(default), cls):
                    yield dataclasses.replace(cls(), **{f.name: inner()})


@dataclasses.dataclass(frozen=True)
class Call:
    part: Part
    function: str
    args: tuple[Any, ...]
    result: Any

    def again(self, args: tuple[Any, ...]) -> Any:
        return getattr(self.part, self.function)(*args)


def tree(f: Callable[[Tensor], Tensor], x: Any) -> Any:
    """x with f applied to all of its tensors."""
    if isinstance(x, Tensor):
        return f(x)
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        changed = {
            g.name: tree(f, getattr(x, g.name))
            for g in dataclasses.fields(x)
            if not isinstance(getattr(x, g.name), (Part, str))
        }
        return dataclasses.replace(x, **changed) if not isinstance(x, Part) else x
    if isinstance(x, dict):
        return {k: tree(f, v) for k, v in x.items()}
    if isinstance(x, tuple | list):
        return type(x)(tree(f, v) for v in x)
    return x


def leaves(x: Any) -> list[Tensor]:
    found: list[Tensor] = []
    tree(lambda t: (found.append(t), t)[1], x)
    return found


def same(a: Any, b: Any) -> bool:
    """Equal bit for bit (NaN included), tensor by tensor."""
    one, two = leaves(a), leaves(b)
    return len(one) == len(two) and all(
        x.shape == y.shape
        and x.dtype == y.dtype
        and torch.equal(
            x.nan_to_num(7.25) if x.is_floating_point() else x, y.nan_to_num(7.25) if y.is_floating_point() else y
        )
        for x, y in zip(one, two, strict=True)
    )


def row(i: int, x: Any) -> Any:
    return tree(lambda t: t[i : i + 1] if t.dim() else t, x)


@contextmanager
def recording(cls: type[Part], calls: list[Call], every: int = 2, most: int = 2) -> Iterator[None]:
    """Every second call of each of a class's functions, at most two, its arguments copied before it."""
    kept: dict[str, Any] = {}
    seen: dict[str, int] = {}

    def wrapped(name: str, original: Any) -> Any:
        def call(self: Part, *args: Any) -> Any:
            seen[name] = seen.get(name, -1) + 1
            if seen[name] % every or seen[name] // every >= most:
                return original(self, *args)
            before = tree(torch.clone, args)
            result = original(self, *args)
            assert same(before, args), f"{parts.name_of(self)}.{name} changed what it was given"
            calls.append(Call(self, name, before, tree(torch.clone, result)))
            return result

        return call

    for name in functions(cls):
        kept[name] = (name in vars(cls), getattr(cls, name))
        setattr(cls, name, wrapped(name, kept[name][1]))
    try:
        yield
    finally:
        for name, (own, original) in kept.items():
            if own:
                setattr(cls, name, original)
            else:
                delattr(cls, name)


def predictions(args: tuple[Any, ...]) -> list[Prediction]:
    found = [a for a in args if isinstance(a, Prediction)]
    return found + [p for a in args if isinstance(a, tuple) for p in a if isinstance(p, Prediction)]


def states(args: tuple[Any, ...]) -> list[State]:
    return [a for a in args if isinstance(a, State)]
