"""Runs a task: fresh problems, decoded, checked by the task's own rule."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..core.errors import BadInput
from ..models.model import Model
from . import tasks
from .task import Problem

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
    max_new_tokens: int | None = None,
    **sampling: float | None,
) -> dict[str, Any]:
    """{task, seed, limit, accuracy, stderr, tokens_per_forward, method}: `limit` problems of `seed`.

    stderr is the binomial standard error of the accuracy; tokens_per_forward is all tokens over all forwards. out: a file that gets
    {prompt, answer, reference, correct} a line, whole or not at all. max_new_tokens: None = the problem's own; sampling: as for
    generate. Errors: UnknownName, BadInput.
    """
    chosen = tasks.get(task)
    if limit < 1:
        raise BadInput(f"expected a limit of at least 1 problem, found {limit}; raise it.")
    target = None if out is None else Path(out)
    if target is not None and (target.is_dir() or not os.access(target.parent, os.W_OK)):
        raise BadInput(f"expected a file that can be written, found {str(out)!r}, which cannot; choose another place.")
    problems = [chosen.problem(seed, i) for i in range(limit)]
    rows, tokens, forwards, right = [], 0.0, 0, 0
    for at in range(0, limit, BATCH):
        for problem, result in _decode(model, problems[at : at + BATCH], method, seed, at, max_new_tokens, sampling):
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
    model: Model,
    problems: list[Problem],
    method: str | None,
    seed: int,
    at: int,
    new: int | None,
    sampling: dict[str, Any],
) -> list[tuple[Problem, Any]]:
    """Problems that share their places, suffix and pins are decoded side by side."""
    from ..api import generate  # the same verb users call

    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, p in enumerate(problems):
        groups.setdefault((new or p.max_new_tokens, p.suffix, tuple(sorted(p.pin.items()))), []).append(i)
    out: dict[int, Any] = {}
    for (length, suffix, pins), members in groups.items():
        results = generate(
            model, [problems[i].prompt for i in members], method=method, max_new_tokens=length, suffix=suffix or None,
            pin=dict(pins) or None, seed=[seed * 1_000_003 + at + i for i in members], **sampling,
        )  # fmt: skip
        out.update(zip(members, results, strict=True))
    return [(problems[i], out[i]) for i in range(len(problems))]


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """JSON lines, written beside the target and moved there: whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        os.replace(part, path)
    except OSError as error:
        raise BadInput(
            f"expected to write {str(path)!r}, found that it fails ({error.strerror}); choose another place."
        ) from None
    finally:
        part.unlink(missing_ok=True)
