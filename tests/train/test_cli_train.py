"""`redraft train` and `redraft recipes` as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from redraft.cli.main import main
from redraft.cli.train import without
from redraft.recipes.recipe import known_recipes
from tests.train.runs import SMALL, log

ROOT = Path(__file__).parents[2]
FEW = ["--batch", "4", "--micro", "2", "--no-bf16", "--device", "cpu", *(w for s in SMALL for w in ("--set", s))]


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(list(words))
    return int(leaving.value.code or 0)


def test_train_writes_a_folder_that_generate_decodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert call("train", "redraft_tiny", "--out", str(out), "--steps", "2", "--json", *FEW) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert result["finished"] and result["step"] == 2 and result["model"] == str(out / "model")
    assert "step 1 of 2, loss" in shown.err and "tokens/s" in shown.err and "left" in shown.err
    asked = ["--model", result["model"], "--method", result["decodes_with"], "--json", "--max-new-tokens", "4"]
    assert call("generate", "1+1=", *asked) == 0
    assert json.loads(capsys.readouterr().out)["forwards"] > 0
    assert call("train", "redraft_tiny", "--out", str(out), "--steps", "2", *FEW) == 1
    assert "holds a run already; go on with it by --resume" in capsys.readouterr().err
    assert call("train", "redraft_tiny", "--out", str(out), "--steps", "3", "--resume", *FEW) == 0
    shown = capsys.readouterr()
    assert "going on from step 2" in shown.err and "redraft generate" in shown.out
    card = (out / "model" / "README.md").read_text()
    assert "redraft train redraft_tiny" in card and "addition" in card and "/tmp" not in card


def test_tensorboard_files_or_one_remark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "redraft_tiny", "--out", str(tmp_path / "run"), "--steps", "2", *FEW) == 0
    said = capsys.readouterr().err
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        assert said.count("TensorBoard is not installed") == 1
        return
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert {"loss", "norm", "mask_rate", "tokens_per_second", "parts/loss"} <= set(events.Tags()["scalars"])
    found = [one.value for one in events.Scalars("loss")]
    assert found == pytest.approx([line["loss"] for line in log(tmp_path / "run")], rel=1e-5)


def test_minutes_end_a_run_with_the_rate_at_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["--steps", "100000", "--minutes", "0.05", "--set", "optimiser.warmup=1", *FEW]
    assert call("train", "redraft_tiny", "--out", str(out), *words) == 0
    lines = log(out)
    assert 1 < len(lines) < 10000 and lines[-1]["rate"] < min(1.0, lines[0]["rate"])
    assert lines[-2]["seconds"] < 3.0 <= lines[-1]["seconds"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["redraft_tini"], "did you mean redraft_tiny"),
        (["redraft_tiny", "--adapter", "dora"], "--adapter should be one of lora, boft, found 'dora'"),
        (["redraft_tiny", "--launcher", "slurm"], "--launcher should be one of none, torchrun, ray"),
        (["redraft_tiny", "--threads", "0"], "--threads should be a whole number above 0"),
        (["redraft_tiny", "--num-processes", "2"], "needs --launcher torchrun"),
        (["redraft_tiny", "--preview-png", "x.png"], "give --preview with how many"),
        (["redraft_tiny", "--launcher", "torchrun", "--lr", "-1"], "--lr should be a rate above 0"),
        (["redraft_tiny", "--stepps", "3"], "did you mean --steps"),
        (["autoregressive"], "give --data with a text, jsonl or parquet file"),
        (["redraft_tiny", "--init", "gone"], "gone"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", *words, "--out", str(tmp_path / "run")) in (1, 2)
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and not shown.out


def test_recipes_lists_every_recipe_with_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("recipes", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == sorted(known_recipes())
    for row in rows:
        assert list(row) == ["name", "paper", "parts", "needs", "decodes_with"]
        assert row["paper"] and isinstance(row["parts"], dict) and len(row["parts"]) > 1
    assert call("recipes", "redraft_tiny", "--json") == 0
    assert json.loads(capsys.readouterr().out) == next(row for row in rows if row["name"] == "redraft_tiny")
    assert call("recipes") == 0
    assert "redraft_tiny" in capsys.readouterr().out
    assert call("recipes", "nbdif") == 1
    assert "did you mean nbdiff" in capsys.readouterr().err


def test_torchruns_processes_get_the_same_command_without_the_launcher() -> None:
    words = ["train", "x", "--launcher", "torchrun", "--steps", "3", "--num-processes=2", "--json"]
    assert without(words) == ["train", "x", "--steps", "3", "--json"]


def start(*words: str) -> subprocess.Popen[str]:
    room = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "redraft", *words]
    return subprocess.Popen(command, cwd=ROOT, env=room, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    child = start("train", "redraft_tiny", "--out", str(out), "--steps", "100000", "--json", *FEW)
    end = time.monotonic() + 120
    while time.monotonic() < end and child.poll() is None:
        if (out / "log.jsonl").exists() and (out / "log.jsonl").read_text().count("\n") > 2:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    shown, said = child.communicate(timeout=120)
    assert child.returncode == 130, said
    result: dict[str, Any] = json.loads(shown)
    assert result["finished"] is False and result["step"] > 2
    assert len(list((out / "checkpoints").iterdir())) == 1
    assert "--resume" in said


@pytest.mark.slow
def test_torchrun_and_accelerate_start_the_same_run(tmp_path: Path) -> None:
    words = ["train", "redraft_tiny", "--steps", "2", "--json", "--set", "optimiser.muon=False", *FEW]
    child = start(
        *words, "--out", str(tmp_path / "torchrun"), "--launcher", "torchrun", "--num-processes", "2", "--fsdp"
    )
    shown, said = child.communicate(timeout=300)
    assert child.returncode == 0, said
    found = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
    assert len(found) == 1 and found[0]["finished"]
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    done = subprocess.run(
        [*launch, "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "redraft", *words, "--out", str(tmp_path / "accelerate")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (log(tmp_path / name) for name in ("torchrun", "accelerate"))
    assert [line["loss"] for line in one] == pytest.approx([line["loss"] for line in two], rel=1e-5)
