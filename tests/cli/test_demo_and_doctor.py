"""The demo decodes four prompts by two methods each; the doctor says what is here and fails where nothing runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from redraft.core.errors import CheckpointError

Run = Callable[..., tuple[int, str, str]]


def test_demo_shows_every_run(run: Run, api: Any) -> None:
    code, out, _ = run("demo")
    assert code == 0
    for word in ("addition", "sudoku", "infill", "story"):
        assert sum(line.split()[:1] == [word] for line in out.splitlines()) == 3  # its heading, its rows in the table
    assert out.count("2 forwards, 1.00 tokens per forward") == 8


def test_demo_json(run: Run, api: Any) -> None:
    rows = json.loads(run("demo", "--json")[1])
    assert len(rows) == 8 and {row["task"] for row in rows} == {"addition", "sudoku", "infill", "story"}
    assert len({row["method"] for row in rows}) == 2
    assert [row["correct"] for row in rows] == [False] * 6 + [None] * 2


def test_demo_judges_the_filled_object() -> None:
    from redraft.cli.demo import fits

    assert fits(' "kind": "cat", "age": 4,')
    assert not fits(' "kind": "cat",') and not fits("")


def test_doctor(run: Run, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert code == 0 and found["ok"] is True and found["hub"].startswith("off")
    assert found["versions"]["torch"].startswith("2.") and set(found["extras"]) >= {"peft", "accelerate"}
    assert "redraft-tiny runs" in run("doctor")[1]


def test_doctor_fails_without_the_model(run: Run, api: Any) -> None:
    api.fail = CheckpointError("this installation lacks the packaged model; install redraft again.")
    code, out, err = run("doctor", "--json")
    assert code == 1 and err == ""
    assert json.loads(out)["ok"] is False and "install redraft again" in json.loads(out)["model in the box"]


def test_doctor_does_not_wait_for_a_hub_that_is_away(run: Run, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    assert json.loads(run("doctor", "--json")[1])["hub"].startswith("unreachable")
    assert time.monotonic() - started < 10
