"""LoRA adapters in PEFT's format, added to the weights as they are read (arXiv:2106.09685, 2312.03732)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import CheckpointError
from .config import number, only
from .files import Shards, read_json
from .weights import Source

_PART = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<kind>embedding_)?(?P<side>[AB])(?:\.weight)?$")


class Adapted:
    """A source whose weights are the base's plus scale * B A."""

    def __init__(self, base: Source, folder: Path) -> None:
        if not folder.is_dir():
            raise CheckpointError(
                f"adapter should be a folder with adapter_config.json, and {folder} is not there; check the path."
            )
        self.base, self.where = base, base.where
        self.config = read_json(folder / "adapter_config.json")
        _check(self.config)
        self.parts: dict[str, dict[str, str]] = {}
        self.whole: dict[str, str] = {}
        self.tensors = Shards(folder, "adapter_model.safetensors", "adapter_model.safetensors.index.json")
        for name in self.tensors.shapes():
            found = _PART.match(name)
            target = f"{found['module']}.weight" if found else name.removeprefix("base_model.model.")
            # PEFT stores the base of an adapted embedding too, since it may have been resized
            target = target.replace(".base_layer.", ".")
            if target not in base.shapes():
                raise CheckpointError(
                    f"the adapter in {folder} changes {target}, which {base.where} does not have; it "
                    "belongs to another model."
                )
            if found:
                self.parts.setdefault(target, {})[found["side"]] = name
                self.parts[target]["kind"] = found["kind"] or ""
            elif ".base_layer." in name or _saved(target, self.config):
                self.whole[target] = name
            else:
                raise CheckpointError(
                    f"the adapter in {folder} holds {name}, which is not a LoRA weight; only plain LoRA is read."
                )
        self._fit(folder)

    def _fit(self, folder: Path) -> None:
        if not self.parts and not self.whole:
            raise CheckpointError(f"the adapter in {folder} holds no weights; save it again.")
        shapes = self.tensors.shapes()
        for target, name in self.whole.items():
            self._same_shape(folder, target, shapes[name])
        for target, part in self.parts.items():
            if not {"A", "B"} <= part.keys():
                raise CheckpointError(f"the adapter in {folder} has only one half of {target}; save it again.")
            a, b = shapes[part["A"]], shapes[part["B"]]
            made = (b[0], a[1]) if not part["kind"] else (a[1], b[0])
            self._same_shape(folder, target, made if a[0] == b[1] else ())

    def _same_shape(self, folder: Path, target: str, made: tuple[int, ...]) -> None:
        if tuple(made) != tuple(self.base.shapes()[target]):
            raise CheckpointError(
                f"the adapter in {folder} makes {target} of shape {list(made)}, and the model's is "
                f"{list(self.base.shapes()[target])}; it belongs to another model."
            )

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.base.shapes()

    def get(self, name: str) -> Tensor:
        weight = self.tensors.get(self.whole[name]) if name in self.whole else self.base.get(name)
        part = self.parts.get(name)
        if part is None:
            return weight
        a, b = self.tensors.get(part["A"]).float(), self.tensors.get(part["B"]).float()
        delta = (b @ a) * self._scale(name.removesuffix(".weight"), a.shape[0])
        return (weight.float() + (delta.T if part["kind"] else delta)).to(weight.dtype)

    def stacked(self, names: Sequence[str]) -> Tensor | None:
        return None if any(name in self.parts or name in self.whole for name in names) else self.base.stacked(names)

    def _scale(self, module: str, rank: int) -> float:
        alphas = self.config.get("alpha_pattern") or {}
        # PEFT lets a pattern match the end of a module's name
        alpha = next(
            (a for key, a in alphas.items() if re.match(rf"(.*\.)?({key})$", module)), self.config.get("lora_alpha", 8)
        )
        return float(alpha) / (math.sqrt(rank) if self.config.get("use_rslora") else rank)


def _saved(target: str, config: Mapping[str, Any]) -> bool:
    module = target.rpartition(".")[0]
    return any(module == one or module.endswith(f".{one}") for one in config.get("modules_to_save") or ())


def _check(config: Mapping[str, Any]) -> None:
    only(config, "peft_type", "LORA")
    only(config, "bias", "none")
    for key in ("use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"):
        only(config, key, False)
    only(config, "layer_replication")
    number(config, "lora_alpha", 8)
