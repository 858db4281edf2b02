"""The local hub cache is enough: a model in it loads by its id, without a question to the hub."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from redraft.core.errors import CheckpointError, Unreachable
from redraft.models import load
from tests.kit import kit_dir


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    root = tmp_path / "models--owner--LLaDA2.1-tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(kit_dir() / "llada2" / "ckpt_s0", root / "snapshots" / commit)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return root / "snapshots" / commit


def test_from_the_cache(cache: Path) -> None:
    import inspect

    from huggingface_hub import snapshot_download

    if inspect.signature(snapshot_download).parameters["cache_dir"].default is not None:
        pytest.skip("this huggingface_hub fixes its cache when it is imported")
    model = load("owner/LLaDA2.1-tiny")
    assert model.name == "owner/LLaDA2.1-tiny" and model.family == "llada2"
    assert model.traits.edits, "the published name tells 2.1 from 2.0"


def test_half_a_download_is_not_a_model(cache: Path) -> None:
    (cache / "model.safetensors").unlink()
    with pytest.raises(Unreachable, match="not in the local cache"):
        load("owner/LLaDA2.1-tiny")


@pytest.mark.parametrize("name", ["a/b/c", "../up", "~/nowhere", "./here", "owner/", "owner name/x", ""])
def test_what_is_not_an_id_is_not_asked_for(name: str) -> None:
    if name == "":
        name = " "
    with pytest.raises(CheckpointError, match="there is no folder"):
        load(name)
