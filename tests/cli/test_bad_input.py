"""Bad input through the real command: one clear sentence on standard error, no trace, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest

BOX = Path(str(files("redraft") / "assets" / "redraft-tiny"))


def redraft(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "redraft", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def refused(*arguments: str, **environment: str) -> str:
    """Standard error of a command that must fail as a user may expect it."""
    done = redraft(*arguments, **environment)
    assert done.returncode not in (0, 130), done.stdout
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("redraft: "), done.stderr
    assert "Traceback" not in done.stderr and "unexpected" not in done.stderr, done.stderr
    return done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BOX, tmp_path / "model"))


def weights(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def test_empty_prompt() -> None:
    assert "prompt" in refused("generate", "")


def test_prompt_longer_than_the_context() -> None:
    assert "context" in refused("generate", "a b c d " * 4000)


def test_zero_new_tokens() -> None:
    assert "max_new_tokens" in refused("generate", "hi", "--max-new-tokens", "0")


@pytest.mark.parametrize(
    ("option", "value"), [("--temperature", "-1"), ("--top-p", "0"), ("--top-k", "-2"), ("--repetition-penalty", "0")]
)
def test_sampling_out_of_range(option: str, value: str) -> None:
    assert value in refused("generate", "hi", option, value)


def test_mask_text_in_a_prompt_is_text() -> None:
    mask = json.loads((BOX / "tokenizer_config.json").read_text(encoding="utf-8"))["mask_token"]
    mask = mask["content"] if isinstance(mask, dict) else mask
    done = redraft("generate", f"{mask}12+34=", "--max-new-tokens", "4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prompt_tokens"] > len("12+34=") - 3


def test_missing_folder(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in refused("generate", "hi", "--model", str(tmp_path / "none"))


def test_missing_weights(copy: Path) -> None:
    weights(copy).unlink()
    assert "safetensors" in refused("generate", "hi", "--model", str(copy))


@pytest.mark.parametrize("keep", [0, 4, 1000, -100])
def test_truncated_weights(copy: Path, keep: int) -> None:
    weights(copy).write_bytes(weights(copy).read_bytes()[:keep])
    assert weights(copy).name in refused("generate", "hi", "--model", str(copy))


def test_corrupt_weights(copy: Path) -> None:
    weights(copy).write_bytes(b"\xff" * 5000)
    assert weights(copy).name in refused("generate", "hi", "--model", str(copy))


def test_weights_of_another_shape(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["intermediate_size"] = 16 + config.get("intermediate_size", 0)
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    refused("generate", "hi", "--model", str(copy))


def test_pickle_is_refused(copy: Path) -> None:
    weights(copy).rename(copy / "pytorch_model.bin")
    assert "safetensors" in refused("generate", "hi", "--model", str(copy))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model_type": "nothing_such"}', "{}"])
def test_unreadable_or_unknown_config(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text, encoding="utf-8")
    refused("generate", "hi", "--model", str(copy))


def test_corrupt_tokenizer(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{", encoding="utf-8")
    assert "tokenizer" in refused("generate", "hi", "--model", str(copy))


@pytest.mark.parametrize("dtype", ["float16", "float99", "int8"])
def test_wrong_dtype(dtype: str) -> None:
    assert dtype in refused("generate", "hi", "--dtype", dtype)


def test_unknown_device() -> None:
    assert "gpu" in refused("generate", "hi", "--device", "gpu")


def test_unknown_method_and_argument() -> None:
    assert "did you mean fast_dllm" in refused("generate", "hi", "--method", "fast_dlm")
    assert "did you mean threshold" in refused("generate", "hi", "--method", "fast_dllm(treshold=0.9)")
    assert "__import__" in refused("generate", "hi", "--method", "__import__('os')")
    refused("generate", "hi", "--method", "fast_dllm(threshold=")


def test_a_method_that_needs_what_the_model_lacks() -> None:
    assert "llada21" in refused("generate", "hi", "--method", "llada21")


def test_unknown_task(tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    assert "did you mean addition" in refused("eval", "adition", "--out", str(out))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", ["0", "-3"])
def test_eval_of_nothing(limit: str) -> None:
    assert "limit" in refused("eval", "addition", "--limit", limit)


def test_answers_to_a_folder_that_is_not_there(tmp_path: Path) -> None:
    refused("eval", "addition", "--limit", "1", "--out", str(tmp_path / "none" / "answers.jsonl"))
    assert list(tmp_path.iterdir()) == []


def test_pin_outside_of_the_answer() -> None:
    assert "9" in refused("generate", "hi", "--max-new-tokens", "4", "--pin", "9=x")


def test_prompt_ids_outside_of_the_vocabulary() -> None:
    assert "99999999" in refused("generate", "--prompt-ids", "1,99999999")


def test_conform_without_cases(tmp_path: Path) -> None:
    done = redraft("conform", str(tmp_path))
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "total: 0 passed, 0 found"
    done = redraft("conform", str(tmp_path / "none"))
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_unreachable_hub_is_said_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    said = refused(
        "generate",
        "hi",
        "--model",
        "nobody/nothing-such",
        HF_HUB_OFFLINE="0",
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HOME=str(tmp_path),
    )
    assert "hub" in said and time.monotonic() - started < 20
    assert "HF_HUB_OFFLINE" in refused("generate", "hi", "--model", "nobody/nothing-such", HF_HOME=str(tmp_path))
