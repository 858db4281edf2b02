"""Two gloo processes give what one gives: the same noise, the same losses, the same weights."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from redraft.train import checkpoint
from tests.train.runs import go, log, saved
from tests.train.spread import PLAIN, runs

ROOT = Path(__file__).parents[2]
NAMES = list(runs(""))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [{"prompt": f"say {i} and {i + 1}", "response": f"it is {i}, then {i + 1}, then an end"} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, data: str) -> tuple[Path, Path]:
    """All runs by one process and by two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    room = os.environ | {"OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for command, folder in (([sys.executable], one), (torchrun, two)):
        done = subprocess.run(
            [*command, "-m", "tests.train.spread", str(folder), data],
            cwd=ROOT,
            env=room,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return one, two


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_corrupt_as_one_and_agree_in_loss(name: str, folders: tuple[Path, Path]) -> None:
    one, two = folders
    alone: dict[str, Any] = json.loads((one / f"{name}.noise.0").read_text())
    parts = [json.loads((two / f"{name}.noise.{rank}").read_text()) for rank in (0, 1)]
    assert alone and parts[0] and (parts[1] or "idle" in name)
    assert not parts[0].keys() & parts[1].keys()  # each document once
    assert parts[0] | parts[1] == alone
    a, b = log(one / name), log(two / name)
    assert len(a) == len(b) == 3
    slack = 1e-3 if "bf16" in name else 1e-5
    for x, y in zip(a, b, strict=True):
        assert y["loss"] == pytest.approx(x["loss"], rel=slack, abs=slack)
        assert y["norm"] == pytest.approx(x["norm"], rel=100 * slack)
        for key in ("tokens", "mask_rate"):
            assert y[key] == x[key]
    assert a[0]["loss"] != a[-1]["loss"]
    # Muon computes in bfloat16, and Adam's first steps turn rounding around zero into whole steps: weights are compared by means
    for file in ("model", "ema") if name != "fsdp_forwards" else ("model",):
        first, second = saved(one / name, file), saved(two / name, file)
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert float((second[key] - value).abs().mean()) < (2e-4 if "bf16" in name else 1e-5), key


def test_a_run_of_two_processes_goes_on_with_one(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, two = folders
    for name in ("ddp", "fsdp"):
        assert checkpoint.damage(checkpoint.steps(two / name)[-1]) is None
        changes = PLAIN | {"steps": 5, "resume": True, "fsdp": False}
        go(two / name, **changes)
    a, b = log(two / "ddp"), log(two / "fsdp")
    assert [line["step"] for line in a] == [1, 2, 3, 4, 5]
    assert b[-1]["loss"] == pytest.approx(a[-1]["loss"], rel=1e-4)


def test_muon_and_fsdp_do_not_go_together(tmp_path: Path) -> None:
    from redraft.core.errors import BadInput

    with pytest.raises(BadInput, match="Muon needs whole matrices"):
        go(tmp_path / "run", fsdp=True)


@pytest.mark.slow
def test_two_workers_of_ray_train_give_the_same_losses(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'redraft[ray]'")
    import ray as package

    from redraft.train.launch import ray
    from tests.train.runs import options

    result = ray(options(tmp_path / "ray", **PLAIN), 2, lambda _: None)
    package.shutdown()
    go(tmp_path / "one", **PLAIN)
    assert json.loads((tmp_path / "ray" / "result.json").read_text()) == result
    assert result["finished"] and result["step"] == 3 and Path(result["model"], "model.safetensors").exists()
    for x, y in zip(log(tmp_path / "one"), log(tmp_path / "ray"), strict=True):
        assert y["loss"] == pytest.approx(x["loss"], rel=1e-5)
