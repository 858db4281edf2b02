"""Runs a task: fresh problems, decoded, checked by the task's own rule."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import BadInput
from ..models.model import Model
from . import tasks
from .task import Problem, Task

BATCH = 32


def evaluate(
    task: str,
    *,
    model: Model,
    seed: int = 0,
    limit: int = 100,
    method: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """{task, seed, limit, accuracy, stderr, tokens_per_forward, method}: `limit` problems of `seed`.

    stderr is the binomial standard error of the accuracy; tokens_per_forward is all tokens over all forwards. out: a file that gets
    {prompt, answer, reference, correct} a line, whole or not at all. Errors: UnknownName, BadInput.
    """
    chosen = tasks.get(task)
    if limit < 1:
        raise BadInput(f"expected a limit of at least 1 problem, found {limit}; raise it.")
    target = None if out is None else Path(out)
    if target is not None and not target.parent.is_dir():
        raise BadInput(f"expected a folder to write {str(out)!r} in, found none; make {str(target.parent)!r} first.")
    problems = [chosen.problem(seed, i) for i in range(limit)]
    rows, tokens, forwards, right = [], 0.0, 0, 0
    for at in range(0, limit, BATCH):
        for problem, result in _decode(model, chosen, problems[at : at + BATCH], method, seed, at):
            correct = chosen.correct(problem, result.text)
            right += correct
            forwards += result.forwards
            tokens += result.tokens_per_forward * result.forwards
            rows.append(
                {"prompt": problem.prompt, "answer": result.text, "reference": problem.answer, "correct": correct}
            )
        if on_progress is not None:
            on_progress(len(rows), limit)
    accuracy = right / limit
    if target is not None:
        write_lines(target, rows)
    return {
        "task": task,
        "seed": seed,
        "limit": limit,
        "accuracy": round(accuracy, 4),
        "stderr": round(math.sqrt(accuracy * (1 - accuracy) / limit), 4),
        "tokens_per_forward": round(tokens / max(forwards, 1), 3),
        "method": result.method,
    }


def _decode(
    model: Model, task: Task, problems: list[Problem], method: str | None, seed: int, at: int
) -> list[tuple[Problem, Any]]:
    """Problems that share their places, suffix and pins are decoded side by side."""
    from ..api import generate  # the same verb users call

    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, p in enumerate(problems):
        groups.setdefault((p.max_new_tokens, p.suffix, tuple(sorted(p.pin.items()))), []).append(i)
    out: dict[int, Any] = {}
    for (length, suffix, pins), members in groups.items():
        results = generate(
            model, [problems[i].prompt for i in members], method=method, max_new_tokens=length, suffix=suffix or None,
            pin=dict(pins) or None, seed=[seed * 1_000_003 + at + i for i in members],
        )  # fmt: skip
        out.update(zip(members, results, strict=True))
    return [(problems[i], out[i]) for i in range(len(problems))]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """JSON lines, written beside the target and moved there: whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise BadInput(
            f"expected to write {str(path)!r}, found that it fails ({error.strerror}); choose another place."
        ) from None
