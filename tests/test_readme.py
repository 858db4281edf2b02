"""The README says what the code does: its transcript, its table, its examples."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redraft.cli import transcript

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    found = re.search(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", README, re.DOTALL)
    assert found, f"the README has no block {name}"
    return found[1].rstrip("\n")


def figures(text: str) -> list[tuple[str, str, str, str]]:
    """(task, method, tokens, forwards) of every line of the closing table."""
    return re.findall(r"^ *(\w+) +(\w+(?:\(.*?\))?) +(\d+) +(\d+) +\d+\.\d\d +\d+\.\d\d$", text, re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """Title -> what the demo prints under it."""
    parts = re.split(r"\n(?=(?:addition|sudoku|infill|story)\n)", text)
    return {part.partition("\n")[0]: part for part in parts[1:]}


def test_transcript_is_what_the_demo_prints() -> None:
    """Exact answers word for word; free text may differ where another machine rounds otherwise, its frame may not."""
    said, printed = block("demo"), transcript.demo()
    assert [row[:2] for row in figures(said)] == [row[:2] for row in figures(printed)] and len(figures(said)) == 8
    before, now = sections(said), sections(printed)
    assert list(before) == list(now) == ["addition", "sudoku", "infill", "story"]
    for title in ("addition", "sudoku"):
        assert before[title] == now[title]
    for title in ("infill", "story"):
        assert before[title].splitlines()[:3] == now[title].splitlines()[:3]
    for (*_, forwards), (*_, again) in zip(figures(said), figures(printed), strict=True):
        assert abs(int(forwards) - int(again)) <= 0.25 * int(forwards)


def test_table_of_methods_is_generated() -> None:
    assert block("methods") == transcript.methods()


def test_exactly_two_commands_set_up() -> None:
    section = README.partition("## Set up")[2].partition("\n## ")[0]
    assert re.findall(r"^\$ (.*?) *(?:#.*)?$", section, re.MULTILINE) == ["make demo", "make test"]


def test_python_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["result"].text.strip() == "585"
    assert len(names["both"]) == 2


def test_rewrite_touches_its_blocks_only() -> None:
    text = "a\n<!-- demo:begin -->\nold\n<!-- demo:end -->\nb\n"
    blocks: dict[str, Callable[[], str]] = {"demo": lambda: r"new \1", "methods": lambda: "never"}
    assert transcript.rewrite(text, blocks) == "a\n<!-- demo:begin -->\nnew \\1\n<!-- demo:end -->\nb\n"


def commands() -> list[str]:
    section = README.partition("## On the command line")[2].partition("\n## ")[0]
    return re.findall(r"^\$ (?:.*&& )?(redraft .*)$", section, re.MULTILINE)


def test_every_command_is_one_the_program_takes() -> None:
    from typer.main import get_command

    from redraft.cli.main import app

    group = get_command(app)
    assert len(commands()) >= 5
    for line in commands():
        _, verb, *rest = shlex.split(line)
        group.commands[verb].make_context(verb, rest)  # type: ignore[attr-defined]
