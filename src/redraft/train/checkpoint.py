"""Checkpoints that survive a kill at any moment: a folder is written under another name, synced and then renamed.

    DIR/checkpoints/step-000000120/{model,optimiser,ema}.safetensors state.json manifest.json

The manifest holds every file's size and SHA-256, so a torn or altered file is found and the one before it is used.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..core.errors import Stopped

FOLDER, PART, MANIFEST, STATE = "checkpoints", ".part-", "manifest.json", "state.json"
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint found on disk. state: numbers of the run; `tensors(name)`: those of one file, {} for none."""

    folder: Path
    state: Mapping[str, Any]

    def tensors(self, name: str) -> dict[str, Tensor]:
        path = self.folder / f"{name}.safetensors"
        return load_file(path) if path.exists() else {}


def write(out: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
    """Write the checkpoint of `step` below `out` and drop all but the last two.

    tensors  file name -> tensors by name. Stopped where the disk is full or refuses; what was there before stays.
    """
    root = out / FOLDER
    folder, room = root / f"step-{step:09d}", root / f"{PART}{step:09d}"
    if folder.exists() and damage(folder) is None:
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        for left in root.glob(f"{PART}*"):
            shutil.rmtree(left, ignore_errors=True)
        room.mkdir()
        for name, values in tensors.items():
            if values:
                _save(room / f"{name}.safetensors", {k: v.detach().cpu().contiguous() for k, v in values.items()})
        (room / STATE).write_text(json.dumps(dict(state)) + "\n", encoding="utf-8")
        files = {path.name: _facts(path) for path in sorted(room.iterdir())}
        (room / MANIFEST).write_text(json.dumps(files, indent=1) + "\n", encoding="utf-8")
        for path in room.iterdir():
            _sync(path)
        _sync(room)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(room, folder)
        _sync(root)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(room, ignore_errors=True)
        then = f"from {steps(out)[-1].name}, the last one there" if steps(out) else "from step 0, none is there yet"
        raise Stopped(
            f"the checkpoint of step {step} could not be written to {root} ({reason(error)}); free some space and go on "
            f"with --resume, {then}."
        ) from error
    every = steps(out)
    here = every.index(folder)
    for old in every[: max(here + 1 - KEPT, 0)] + every[here + 1 :]:  # later ones were damaged when this run took up
        shutil.rmtree(old, ignore_errors=True)
    return folder


def steps(out: Path) -> list[Path]:
    """The checkpoints' folders, oldest first."""
    return sorted((out / FOLDER).glob("step-*"))


def newest(out: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, None where there is none; `say` hears of each that is damaged."""
    for folder in reversed(steps(out)):
        wrong = damage(folder)
        if wrong is None:
            return Checkpoint(folder, json.loads((folder / STATE).read_text(encoding="utf-8")))
        say(f"checkpoint {folder.name} is damaged ({wrong}) and is not used; trying the one before it.")
    return None


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, None where every file is as it was written."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, facts in files.items():
            path = folder / name
            if not path.exists():
                return f"{name} is missing"
            if path.stat().st_size != facts["bytes"]:
                return f"{name} has {path.stat().st_size} bytes, {facts['bytes']} were written"
            if _facts(path) != facts:
                return f"{name} is not what was written"
    except FileNotFoundError:
        return f"it has no {MANIFEST}"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return None if STATE in files else f"it has no {STATE}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Stopped, with the path and what to do, where the file system refuses what is written inside."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = not isinstance(error, OSError) or error.errno in (errno.ENOSPC, errno.EDQUOT)
        do = (
            "the disk is full or a quota is reached: free some space and go on with --resume"
            if full
            else ("choose another --out or make it writable")
        )
        raise Stopped(f"{path} could not be written ({reason(error)}); {do}.") from error


def reason(error: BaseException) -> str:
    """An error of the file system in words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors makes its files readable by their owner only


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
