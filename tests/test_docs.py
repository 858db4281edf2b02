"""The documents' programs run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from redraft.cli import transcript
from redraft.cli.main import app
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


def test_table_of_recipes_is_generated() -> None:
    text = (DOCS / "choose-an-objective.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- recipes:begin -->\n(.*?)<!-- recipes:end -->", text, re.DOTALL)
    assert found and found[1].rstrip("\n") == transcript.recipes()


def test_training_by_hand_gives_a_loss() -> None:
    (program,) = programs("train.md")
    scope: dict[str, Any] = {}
    exec(compile(program, "train.md", "exec", dont_inherit=True), scope)
    assert 0 < float(scope["loss"].value) < 100
    assert scope["model"].embedding.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("page", ["train.md", "adapt.md", "scale-training.md", "chat-data.md", "likelihoods.md"])
def test_options_that_the_pages_name_exist(page: str) -> None:
    """Every `redraft train`, `eval ppl` and `recipes` line of the pages parses: its flags are the command's."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for line in re.findall(r"^\$ (redraft (?:train|recipes|eval ppl)\b.*)$", text, re.MULTILINE):
        verb = ["eval", "ppl"] if " eval ppl" in line else [line.split()[1]]
        shown = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
        for flag in re.findall(r"(?<= )--[a-z0-9-]+", line):
            assert flag in shown, f"{page}: {line}: {flag} is no option"
