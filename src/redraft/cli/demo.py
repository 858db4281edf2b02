"""The main job in one minute: four prompts, each decoded by two methods, with what each cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from textwrap import wrap
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from redraft.cli.output import printable
from redraft.evals import tasks
from redraft.evals.task import Problem

METHODS = ("llada(block=8)", "fast_dllm(threshold=0.9)")

INFILL = Problem('json pet: {"name": "Mia",', "", 24, suffix=' "good": true}')
STORY = Problem("One day, there was a girl named Anna by the river.", "", 96)


def problems() -> Iterator[tuple[str, Problem, Callable[[str], bool] | None]]:
    """(title, problem, whether an answer is correct: None where there is no right answer)."""
    for title, name, index in (("addition", "addition", 0), ("sudoku", "sudoku4", 1)):
        task = tasks.get(name)
        problem = task.problem(0, index)
        yield title, problem, partial(task.correct, problem)
    yield "infill", INFILL, fits
    yield "story", STORY, None


def fits(gap: str) -> bool:
    """Do the prompt, the gap and the suffix make the object that was asked for?"""
    head, colon, opening = INFILL.prompt.partition(":")
    return tasks.get("json").correct(Problem(head + colon, "", 1), opening + gap + INFILL.suffix)


def play(model: Any, console: Console | None) -> list[dict[str, Any]]:
    """Decode every problem by every method; print each on `console`, and return one row per run."""
    from redraft import api

    rows = []
    for title, problem, correct in problems():
        if console:
            console.print(Text(f"\n{title}", "bold"))
            console.print(
                Text(printable(problem.prompt + (f" [...]{problem.suffix}" if problem.suffix else "")), "dim")
            )
        for method in METHODS:
            result = api.generate(
                model,
                problem.prompt,
                method=method,
                max_new_tokens=problem.max_new_tokens,
                suffix=problem.suffix or None,
            )
            row = {
                "task": title,
                "method": method,
                "text": result.text,
                "tokens": len(result.tokens),
                "forwards": result.forwards,
                "tokens_per_forward": result.tokens_per_forward,
                "seconds": result.seconds,
                "correct": correct(result.text) if correct else None,
            }
            rows.append(row)
            if console:
                _show(console, row)
    if console:
        console.print()
        console.print(summary(rows))
    return rows


def _show(console: Console, row: dict[str, Any]) -> None:
    console.print(Text(f"  {row['method']}", "cyan"))
    verdict = {True: "  (correct)", False: "  (wrong)", None: ""}[row["correct"]]
    lines = [piece for line in printable(row["text"]).strip().splitlines() for piece in wrap(line, 90)] or [""]
    for at, line in enumerate(lines, 1):
        console.print(Text.assemble("    ", (line, "bold"), verdict if at == len(lines) else ""))
    console.print(
        Text(f"    {row['forwards']} forwards, {row['tokens_per_forward']:.2f} tokens per forward", "dim italic")
    )


def summary(rows: list[dict[str, Any]]) -> Table:
    """What each run cost, one line each."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("task", "method"):
        table.add_column(name, no_wrap=True)
    for name in ("tokens", "forwards", "tokens per forward", "seconds"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["task"],
            row["method"],
            str(row["tokens"]),
            str(row["forwards"]),
            f"{row['tokens_per_forward']:.2f}",
            f"{row['seconds']:.2f}",
        )
    return table
