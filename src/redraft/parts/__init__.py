"""Parts, one class per idea, found by file: parts/<slot>/<name>.py holds the part that text forms call <name>()."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from ..core.errors import UnknownName
from ..core.part import INNER, SLOTS, Part

ALL_SLOTS = (*SLOTS, *INNER)


@functools.cache
def names(slot: str) -> tuple[str, ...]:
    """Names of a slot's parts."""
    package = importlib.import_module(f"{__name__}.{slot}")
    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")))


@functools.cache
def find(slot: str, name: str) -> type[Part]:
    """The class behind a part's name; UnknownName with the nearest ones."""
    if name not in names(slot):
        raise UnknownName(f"{slot} part", name, names(slot))
    module = importlib.import_module(f"{__name__}.{slot}.{name}")
    own = [
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, Part) and c.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise RuntimeError(
            f"expected one part in {module.__name__}, found {len(own)}; move the others to files of their own"
        )
    return own[0]


def name_of(part: Part) -> str:
    """The file's name is the part's name."""
    return type(part).__module__.rsplit(".", 1)[1]


def slot_of(part: Part) -> str:
    return type(part).__module__.rsplit(".", 2)[1]


def slot_of_class(cls: type[Part]) -> str:
    return cls.__module__.rsplit(".", 2)[1]
