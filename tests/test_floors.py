"""The floors of the house, read from the imports: a file imports from lower floors or its own only.

Imports inside functions and under TYPE_CHECKING count too: what a file needs it needs, whenever it loads it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "redraft"

FLOORS = {
    "ops": 0,
    "core": 1,
    "noise": 2,
    "parts": 3,
    "objectives": 3,
    "models": 3,
    "methods": 4,
    "recipes": 4,
    "engine": 4,
    "serve": 5,
    "evals": 5,
    "train": 5,
    "bench": 5,
    "api": 5,
    "cli": 6,
    "__init__": 6,
    "__main__": 6,
}
# Neighbours that must not know one another: a model family serves every method, an executor runs every decoder.
APART = {("models", "parts"), ("parts", "models"), ("engine", "methods"), ("methods", "engine")}


def imports(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """The absolute names of all modules that `source`, a file of `package`, imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{name.name}" for name in node.names)


def folder(module: str) -> str | None:
    """The folder of redraft that `module` stands in, or None outside it; the package itself says only its version."""
    name, _, rest = module.partition(".")
    first = rest.partition(".")[0]
    return first if name == "redraft" and first in FLOORS else None


def breaches(source: str, relative: Path) -> list[str]:
    """What the file at `relative` imports although it stands on a higher floor or must stay unknown."""
    own = relative.parts[0].removesuffix(".py")
    package = ("redraft", *relative.parts[:-1])
    found = set()
    for module in imports(source, package):
        other = folder(module)
        if other is None or other == own:
            continue
        if FLOORS[other] > FLOORS[own] or (own, other) in APART:
            found.add(f"{relative} (floor {FLOORS[own]}) imports {other} (floor {FLOORS[other]})")
    return sorted(found)


FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def test_every_folder_has_a_floor() -> None:
    assert {path.parts[0].removesuffix(".py") for path in FILES} <= set(FLOORS)


def test_every_file_keeps_to_its_floor() -> None:
    assert [line for path in FILES for line in breaches((ROOT / path).read_text(encoding="utf-8"), path)] == []


@pytest.mark.parametrize(
    ("source", "path", "broken"),
    [
        ("from redraft.parts import score", "models/dream.py", True),
        ("from ..parts.score import Score", "models/dream.py", True),
        ("from ...parts import score", "models/families/dream.py", True),
        ("from .. import parts", "models/dream.py", True),
        ("def late():\n    import redraft.methods.llada", "engine/offline.py", True),
        ("from redraft.core.loop import ask", "ops/mask.py", True),
        ("from redraft import api", "methods/llada.py", True),
        ("from ..core.types import State", "parts/score.py", False),
        ("from .score import Score", "parts/select.py", False),
        ("from ..models.family import Model", "objectives/objective.py", False),
        ("import redraft.engine", "api.py", False),
        ("from redraft import api", "cli/main.py", False),
        ("from redraft.evals import tasks", "api.py", False),
        ("from redraft.cli import main", "api.py", True),
    ],
)
def test_the_reader_of_imports(source: str, path: str, broken: bool) -> None:
    assert bool(breaches(source, Path(path))) is broken
