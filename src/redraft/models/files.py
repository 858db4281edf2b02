"""A model folder on disk: read safetensors shard by shard, write a whole folder or nothing."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..core.errors import BadInput, CheckpointError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
FLOATS = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def read_json(path: Path, needed: bool = True) -> dict[str, Any]:
    """One JSON table; {} for an absent file that is not needed."""
    if not path.exists() and not needed:
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent} has no {path.name}; give the folder of a Hugging Face model, or the id of one on the hub."
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} should hold JSON and cannot be read ({error}); download it again.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} should hold a JSON table, found {type(value).__name__}; download it again.")
    return value


class Shards:
    """Tensors of a folder by name, read one at a time from one file or from the shards its index names."""

    def __init__(self, folder: Path, single: str = SINGLE, index: str = INDEX) -> None:
        self.where = str(folder)
        self._open: dict[Path, Any] = {}
        self._file: dict[str, Path] = {}
        self._shape: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        listed: dict[str, str] | None = None
        if (folder / index).exists():
            listed = read_json(folder / index).get("weight_map")
            if not isinstance(listed, dict) or not listed or not all(isinstance(one, str) for one in listed.values()):
                raise CheckpointError(
                    f"{folder / index} should list its tensors under 'weight_map'; download it again."
                )
            names: Iterable[str] = sorted(set(listed.values()))
        elif (folder / single).exists():
            names = [single]
        else:
            raise CheckpointError(_no_weights(folder, single))
        for name in names:
            if Path(name).name != name:
                raise CheckpointError(
                    f"{folder / index} names {name!r}, which is not a file of this folder; download it again."
                )
            self._read(folder / name)
        lost = sorted(set(listed or {}) - self._file.keys())
        if lost:
            raise CheckpointError(
                f"{folder} lacks {len(lost)} tensors its index lists, such as {lost[0]}; download the folder again."
            )

    def _read(self, path: Path) -> None:
        if not path.exists():
            raise CheckpointError(f"{path.parent} lacks {path.name}, which its index names; download the folder again.")
        try:
            shard = safe_open(path, framework="pt", device="cpu")
            for name in list(shard.keys()):
                part = shard.get_slice(name)
                self._file[name], self._shape[name] = path, tuple(part.get_shape())
                self.dtypes[name] = part.get_dtype()
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} is truncated or corrupt and not a whole safetensors file ({error}); download it again."
            ) from None
        self._open[path] = shard

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._shape

    def get(self, name: str) -> Tensor:
        tensor: Tensor = self._open[self._file[name]].get_tensor(name)
        return tensor

    def stacked(self, names: Sequence[str]) -> Tensor | None:
        return None


def _no_weights(folder: Path, single: str) -> str:
    pickles = sorted(path.name for kind in PICKLES for path in folder.glob(kind))
    if pickles:
        return (
            f"{folder} holds its weights as {pickles[0]}, a pickle that can run code and is never opened; "
            "save the model again with safe_serialization=True, or take a revision with safetensors."
        )
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    found = f"found {', '.join(others[:3])}" if others else "found none"
    return f"{folder} should hold {single} or shards with {INDEX}, {found}; download the folder again."


def write_weights(folder: Path, tensors: Iterable[tuple[str, Tensor]], limit: int) -> None:
    """model.safetensors, or shards of at most `limit` bytes (a larger tensor stands alone) with their index."""
    shards: list[dict[str, Tensor]] = [{}]
    room, total = limit, 0
    for name, tensor in tensors:
        space = tensor.numel() * tensor.element_size()
        if shards[-1] and space > room:
            shards.append({})
            room = limit
        shards[-1][name] = tensor.detach().contiguous()
        room, total = room - space, total + space
    if len(shards) == 1:
        save_file(shards[0], folder / SINGLE, metadata={"format": "pt"})
        return
    weights: dict[str, str] = {}
    for i, shard in enumerate(shards, 1):
        name = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        weights |= dict.fromkeys(shard, name)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weights.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary sibling to write into; it becomes `path` when the block ends well and vanishes when it does not.

    An existing `path` must be an empty folder or a model folder, and is replaced only at the end.
    """
    path = path.absolute()
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / "config.json").exists())):
        raise BadInput(
            f"{path} should be a new, an empty or a model folder, and it holds something else; choose another."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error}); choose another folder.") from None
    old = room.with_suffix(".old")
    try:
        try:
            yield room
            room.chmod(0o777 & ~_umask())
            for file in room.iterdir():  # safetensors makes its files readable by their owner only
                if file.is_file():
                    file.chmod(0o666 & ~_umask())
            if path.exists():
                os.replace(path, old)
            os.replace(room, path)
        except BaseException:
            if old.exists() and not path.exists():
                os.replace(old, path)
            raise
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"{path} could not be written ({error}), and nothing was left behind; free some space or "
            "choose another folder."
        ) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
