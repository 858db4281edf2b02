"""The documents' programs run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from redraft.core.slots import Select
from redraft.ops.selection import first

DOCS = Path(__file__).parents[1] / "docs"


def programs(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.S)


def test_step_by_hand_runs_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = programs("step-by-hand.md")
    assert len(program.strip().splitlines()) <= 18
    scope: dict[str, object] = {}
    exec(compile(program, "step-by-hand.md", "exec", dont_inherit=True), scope)
    lines = capsys.readouterr().out.strip().splitlines()
    assert bool(scope["state"].done.all())  # type: ignore[attr-defined]
    assert [int(line.split()[0]) for line in lines[:-1]] == list(range(1, len(lines)))


def test_the_part_of_add_a_paper_decodes() -> None:
    import redraft
    from redraft.methods import make

    (program,) = programs("add-a-paper.md")
    scope: dict[str, object] = {
        "dataclass": dataclass,
        "Select": Select,
        "ClassVar": ClassVar,
        "first": first,
        "__name__": "redraft.parts.select.prefix",
    }
    exec(compile(program, "add-a-paper.md", "exec", dont_inherit=True), scope)
    prefix = scope["Prefix"]
    model = redraft.load("redraft-tiny")
    method = make("fast_dllm", {}, {"select": prefix(bar=0.8)})  # type: ignore[operator]
    result = redraft.generate(model, "123+456=", method=method, max_new_tokens=8)
    ends = [[c.column for c in forward] for forward in result.trajectory.forwards()]
    assert all(columns == list(range(columns[0], columns[-1] + 1)) for columns in ends), (
        "commits are runs from the left"
    )
