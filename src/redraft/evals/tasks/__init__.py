"""The tasks, one file each; the file's name is the task's name and its `TASK` is the value."""

from __future__ import annotations

import importlib
import pkgutil

from ...core.errors import UnknownName
from ..task import Task


def names() -> list[str]:
    """All task names, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def get(name: str) -> Task:
    """The task of that name; UnknownName lists the nearest ones."""
    if name not in names():
        raise UnknownName("task", name, names())
    task = importlib.import_module(f"{__name__}.{name}").TASK
    assert isinstance(task, Task)
    return task
