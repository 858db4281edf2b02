"""Bad input through the real command: one clear sentence on standard error, no trace, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

BOX = Path(str(files("redraft") / "assets" / "redraft-tiny"))


Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]


def one_sentence(code: int, out: str, err: str) -> str:
    """Standard error of a command that failed as a user may expect it."""
    assert code not in (0, 130) and out == "", (code, out, err)
    assert err.count("\n") == 1 and err.startswith("redraft: "), err
    assert "Traceback" not in err and "unexpected" not in err, err
    return err


@pytest.fixture
def refused(run: Callable[..., tuple[int, str, str]]) -> Refused:
    return lambda *arguments: one_sentence(*run(*arguments))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BOX, tmp_path / "model"))


def weights(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def test_empty_prompt(refused: Refused) -> None:
    assert "prompt" in refused("generate", "")


def test_prompt_longer_than_the_context(refused: Refused) -> None:
    assert "shorten the prompt" in refused("generate", "a b c d " * 4000)


def test_zero_new_tokens(refused: Refused) -> None:
    assert "max_new_tokens" in refused("generate", "hi", "--max-new-tokens", "0")


@pytest.mark.parametrize(
    ("option", "value"), [("--temperature", "-1"), ("--top-p", "0"), ("--top-k", "-2"), ("--repetition-penalty", "0")]
)
def test_sampling_out_of_range(refused: Refused, option: str, value: str) -> None:
    assert value in refused("generate", "hi", option, value)


def test_mask_text_in_a_prompt_is_text(run: Run) -> None:
    mask = json.loads((BOX / "tokenizer_config.json").read_text(encoding="utf-8"))["mask_token"]
    mask = mask["content"] if isinstance(mask, dict) else mask
    code, out, err = run("generate", f"{mask}12+34=", "--max-new-tokens", "4", "--json")
    assert code == 0, err
    assert json.loads(out)["prompt_tokens"] > len("12+34=") - 3


def test_missing_folder(refused: Refused, tmp_path: Path) -> None:
    assert str(tmp_path / "none") in refused("generate", "hi", "--model", str(tmp_path / "none"))


def test_missing_weights(refused: Refused, copy: Path) -> None:
    weights(copy).unlink()
    assert "safetensors" in refused("generate", "hi", "--model", str(copy))


@pytest.mark.parametrize("keep", [0, 4, 1000, -100])
def test_truncated_weights(refused: Refused, copy: Path, keep: int) -> None:
    weights(copy).write_bytes(weights(copy).read_bytes()[:keep])
    assert weights(copy).name in refused("generate", "hi", "--model", str(copy))


def test_corrupt_weights(refused: Refused, copy: Path) -> None:
    weights(copy).write_bytes(b"\xff" * 5000)
    assert weights(copy).name in refused("generate", "hi", "--model", str(copy))


def test_weights_of_another_shape(refused: Refused, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["backbone"]["intermediate_size"] += 16
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert "shape" in refused("generate", "hi", "--model", str(copy))


def test_pickle_is_refused(refused: Refused, copy: Path) -> None:
    weights(copy).rename(copy / "pytorch_model.bin")
    assert "safetensors" in refused("generate", "hi", "--model", str(copy))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model_type": "nothing_such"}', "{}"])
def test_unreadable_or_unknown_config(refused: Refused, copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text, encoding="utf-8")
    refused("generate", "hi", "--model", str(copy))


def test_corrupt_tokenizer(refused: Refused, copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{", encoding="utf-8")
    assert "tokenizer" in refused("generate", "hi", "--model", str(copy))


@pytest.mark.parametrize("dtype", ["float16", "float99", "int8"])
def test_wrong_dtype(refused: Refused, dtype: str) -> None:
    assert dtype in refused("generate", "hi", "--dtype", dtype)


def test_unknown_device(refused: Refused) -> None:
    assert "gpu" in refused("generate", "hi", "--device", "gpu")


def test_unknown_method_and_argument(refused: Refused) -> None:
    assert "did you mean fast_dllm" in refused("generate", "hi", "--method", "fast_dlm")
    assert "did you mean threshold" in refused("generate", "hi", "--method", "fast_dllm(treshold=0.9)")
    assert "__import__" in refused("generate", "hi", "--method", "__import__('os')")
    refused("generate", "hi", "--method", "fast_dllm(threshold=")


def test_a_method_that_needs_what_the_model_lacks(refused: Refused) -> None:
    assert "llada21" in refused("generate", "hi", "--method", "llada21")


def test_unknown_task(refused: Refused, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    assert "did you mean addition" in refused("eval", "adition", "--out", str(out))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", ["0", "-3"])
def test_eval_of_nothing(refused: Refused, limit: str) -> None:
    assert "limit" in refused("eval", "addition", "--limit", limit)


def test_answers_to_a_folder_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    refused("eval", "addition", "--limit", "1", "--out", str(tmp_path / "none" / "answers.jsonl"))
    assert list(tmp_path.iterdir()) == []


def test_pin_outside_of_the_answer(refused: Refused) -> None:
    assert "9" in refused("generate", "hi", "--max-new-tokens", "4", "--pin", "9=x")


def test_prompt_ids_outside_of_the_vocabulary(refused: Refused) -> None:
    assert "99999999" in refused("generate", "--prompt-ids", "1,99999999")


def test_conform_without_cases(refused: Refused, run: Run, tmp_path: Path) -> None:
    code, out, _ = run("conform", str(tmp_path))
    assert code == 1 and out.splitlines()[-1] == "total: 0 passed, 0 found"
    assert str(tmp_path / "none") in refused("conform", str(tmp_path / "none"))


@pytest.mark.parametrize(("offline", "words"), [("0", "check the network"), ("1", "HF_HUB_OFFLINE")])
def test_unreachable_hub_is_said_at_once(tmp_path: Path, offline: str, words: str) -> None:
    """A process of its own: the hub's library reads its environment once."""
    hub = {"HF_HUB_OFFLINE": offline, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "redraft", "generate", "hi", "--model", "nobody/nothing-such"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **hub},
    )
    assert words in one_sentence(done.returncode, done.stdout, done.stderr)
    assert time.monotonic() - started < 30  # most of it is the start of the interpreter, on a busy machine too
