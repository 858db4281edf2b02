"""Checkpoints: a killed run goes on bit for bit, what is damaged is seen, a full disk loses nothing."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

import redraft
from redraft.core.errors import Stopped
from redraft.train import checkpoint
from redraft.train.run import loop
from tests.train.runs import go, log, options, same, saved

HARD: dict[str, Any] = {"steps": 8, "save_steps": 1, "ema": 0.9, "bf16": True}

KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.train.runs import go
go(Path(sys.argv[1]), steps=8, save_steps=1, ema=0.9, bf16=True)
"""


def test_a_run_killed_at_a_random_step_goes_on_bit_for_bit(tmp_path: Path) -> None:
    go(tmp_path / "whole", **HARD)
    wanted, pause = random.randrange(1, 6), random.uniform(0.0, 0.1)
    out = tmp_path / "killed"
    root = Path(__file__).parents[2]
    with (tmp_path / "said").open("w") as said:
        child = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], cwd=root, stdout=said, stderr=said)
        end = time.monotonic() + 120
        while time.monotonic() < end and child.poll() is None:
            if (out / "log.jsonl").exists() and (out / "log.jsonl").read_text().count("\n") >= wanted:
                break
            time.sleep(0.002)
        time.sleep(pause)
        child.send_signal(signal.SIGKILL)
    code = child.wait()
    assert code == -signal.SIGKILL, (tmp_path / "said").read_text()
    steps = len(checkpoint.steps(out))
    assert steps <= checkpoint.KEPT + 1
    go(out, **HARD | {"resume": True})
    for name in ("model", "optimiser", "ema"):
        assert same(saved(out, name), saved(tmp_path / "whole", name)), (name, wanted, pause)
    a, b = (redraft.load(tmp_path / run / "model").backbone.state_dict() for run in ("whole", "killed"))
    assert same(a, b)
    lines, whole = log(out), log(tmp_path / "whole")
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [(line["loss"], line["norm"]) for line in lines] == [(line["loss"], line["norm"]) for line in whole]


class Killed(BaseException):
    """The process is gone."""


ACTS = (
    (checkpoint, "_save"),
    (checkpoint, "_facts"),
    (checkpoint, "_sync"),
    (checkpoint.os, "replace"),
    (checkpoint.shutil, "rmtree"),
)


def test_whatever_a_kill_interrupts_a_whole_checkpoint_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"model": {"w": torch.ones(3)}, "optimiser": {"m": torch.zeros(3)}, "ema": {}}
    moments = 0
    for at in range(100):
        out = tmp_path / str(at)
        for step in (1, 2):
            checkpoint.write(out, step, tensors, {"step": step})
        left = at

        def dying(act: Any) -> Any:
            def again(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return act(*args, **kwargs)

            return again

        with monkeypatch.context() as patch:
            for module, name in ACTS:
                patch.setattr(module, name, dying(getattr(module, name)))
            try:
                checkpoint.write(out, 3, tensors, {"step": 3})
                died = False
            except Killed:
                died = True
        found = checkpoint.newest(out, pytest.fail)  # nothing damaged is to be met either
        assert found is not None and found.state["step"] in ((2, 3) if died else (3,))
        assert torch.equal(found.tensors("model")["w"], torch.ones(3)) and found.tensors("ema") == {}
        checkpoint.write(out, 4, tensors, {"step": 4})
        assert [one.name for one in checkpoint.steps(out)][-1] == "step-000000004"
        assert len(checkpoint.steps(out)) == checkpoint.KEPT and len(list((out / "checkpoints").iterdir())) == 2
        moments += died
        if not died:
            break
    assert moments > 8


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "no manifest", "half a manifest"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(harm: str, tmp_path: Path) -> None:
    go(tmp_path / "whole", steps=6, save_steps=2)
    out = tmp_path / "run"
    go(out, steps=6, save_steps=2)
    newest = checkpoint.steps(out)[-1]
    weights = newest / "model.safetensors"
    raw = weights.read_bytes()
    if harm == "cut":
        weights.write_bytes(raw[: len(raw) // 2])
    elif harm == "changed":
        weights.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    elif harm == "gone":
        weights.unlink()
    elif harm == "no manifest":
        (newest / "manifest.json").unlink()
    else:
        (newest / "manifest.json").write_text('{"model.safetensors": {"byt')
    said: list[str] = []
    from redraft.train.run import train

    train(options(out, steps=6, save_steps=2, resume=True), say=said.append)
    assert any(newest.name in text and "is damaged" in text for text in said), said
    assert "going on from step 4" in said
    assert same(saved(out), saved(tmp_path / "whole")) and checkpoint.damage(checkpoint.steps(out)[-1]) is None


def test_without_any_whole_checkpoint_a_run_starts_again(tmp_path: Path) -> None:
    go(tmp_path / "run", steps=2)
    for folder in checkpoint.steps(tmp_path / "run"):
        (folder / "state.json").write_text("{}")
    go(tmp_path / "run", steps=2, resume=True)
    assert [line["step"] for line in log(tmp_path / "run")] == [1, 2]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left")])
def test_a_full_disk_is_one_sentence_and_loses_nothing(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    true, calls = checkpoint._save, 0

    def full(path: Path, tensors: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:  # the first checkpoint has two files
            path.write_bytes(b"half")
            raise error
        true(path, tensors)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_save", full)
        with pytest.raises(Stopped, match=r"step 2 could not be written .*No space left.*; free some space") as found:
            go(out, steps=6, save_steps=1)
    assert "\n" not in str(found.value)
    assert [one.name for one in checkpoint.steps(out)] == ["step-000000001"]
    assert checkpoint.damage(checkpoint.steps(out)[0]) is None and not list(out.rglob(".part*"))
    assert [line["step"] for line in log(out)] == [1, 2]
    go(out, steps=6, save_steps=1, resume=True)
    go(tmp_path / "whole", steps=6)
    assert same(saved(out), saved(tmp_path / "whole"))


LIMITED = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
from redraft.core.errors import Stopped
from tests.train.runs import go
try:
    go(Path(sys.argv[1]), steps=2)
except Stopped as error:
    print(error)
    sys.exit(7)
"""


def test_a_file_system_that_really_refuses(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "run")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "the checkpoint of step 2 could not be written" in done.stdout and done.stdout.count("\n") == 1
    assert [line["step"] for line in log(tmp_path / "run")] == [1, 2]
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))


def test_a_full_disk_under_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import redraft.train.telemetry as telemetry

    class Full:
        def __init__(self, inner: Any) -> None:
            self.inner, self.left = inner, 2

        def write(self, text: str) -> None:
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.inner.write(text)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    made = telemetry.Log.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self.file = Full(self.file)

    with monkeypatch.context() as patch:
        patch.setattr(telemetry.Log, "__init__", init)
        with pytest.raises(Stopped, match=r"log.jsonl could not be written \(No space left on device\)"):
            go(tmp_path / "run", steps=5, save_steps=1)
    go(tmp_path / "run", steps=5, save_steps=1, resume=True)
    assert [line["step"] for line in log(tmp_path / "run")] == [1, 2, 3, 4, 5]


def test_ctrl_c_ends_the_step_saves_and_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import redraft.train.run as run

    def stopping(*args: Any) -> bool:
        *given, interrupted = args
        return loop(*given, lambda: given[0].step == 2 or interrupted())

    with monkeypatch.context() as patch:
        patch.setattr(run, "loop", stopping)
        result = go(tmp_path / "run", steps=5)
    assert result["finished"] is False and result["step"] == 2 and result["model"] is None
    assert [one.name for one in checkpoint.steps(tmp_path / "run")] == ["step-000000002"]
    assert go(tmp_path / "run", steps=5, resume=True)["finished"] is True
    go(tmp_path / "whole", steps=5)
    assert same(saved(tmp_path / "run"), saved(tmp_path / "whole"))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"] == "redraft_tiny"
