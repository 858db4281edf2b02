"""Where weights go: one device, a table by hand, or the layers spread over the GPUs there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import BadInput
from .backbone import Backbone
from .model import as_device


@dataclass(frozen=True)
class Placement:
    """Device by module name; "" is every other module."""

    table: Mapping[str, torch.device]

    def __call__(self, name: str) -> torch.device:
        """The device of a weight or module: that of the longest listed module it lies in."""
        while name and name not in self.table:
            name = name.rpartition(".")[0]
        return self.table[name]

    @property
    def devices(self) -> set[torch.device]:
        return set(self.table.values())


def placement(
    backbone: Backbone,
    device: torch.device,
    given: str | Mapping[str, str | int | torch.device] | None,
    dtype: torch.dtype,
) -> Placement:
    """BadInput for a table that names no module or leaves one out."""
    if given is None:
        return Placement({"": device})
    if given == "auto":
        return _spread(backbone, dtype)
    if not isinstance(given, Mapping):
        raise BadInput(f"device_map should be 'auto' or a table of module names and devices, found {given!r}.")
    modules = {name for name, _ in backbone.named_modules()}
    wrong = sorted(set(given) - modules)
    if wrong:
        raise BadInput(
            f"device_map names {wrong[0]!r}, which is not a module; known are embedding, layers.0 to "
            f"layers.{backbone.config.num_layers - 1}, norm, lm_head and '' for all others."
        )
    table = {name: as_device(f"cuda:{one}" if isinstance(one, int) else one) for name, one in given.items()}
    place = Placement(table)
    for name, _ in backbone.named_parameters():
        try:
            place(name)
        except KeyError:
            raise BadInput(f"device_map leaves out {name.rpartition('.')[0]}; add it, or '' for all others.") from None
    return place


def _spread(backbone: Backbone, dtype: torch.dtype) -> Placement:
    """Layers in order over the GPUs, each taking its share of the free memory; the CPU where there is none.

    Embedding, last norm and head stay together on the first, so that tokens, hidden states and logits share a device.
    """
    count = torch.cuda.device_count()
    if count < 2:
        return Placement({"": torch.device("cuda:0" if count else "cpu")})
    layers = [sum(weight.numel() for weight in layer.parameters()) * dtype.itemsize for layer in backbone.layers]
    rest = sum(weight.numel() for weight in backbone.parameters()) * dtype.itemsize - sum(layers)
    free = [torch.cuda.mem_get_info(i)[0] for i in range(count)]
    free[0] = max(free[0] - rest, 0)
    table = {"": torch.device("cuda:0")}
    done, gpu, room = 0.0, 0, free[0] / sum(free)
    for i, space in enumerate(layers):
        while gpu + 1 < count and (done + space / 2) / sum(layers) > room:
            gpu += 1
            room += free[gpu] / sum(free)
        table[f"layers.{i}"] = torch.device(f"cuda:{gpu}")
        done += space
    return Placement(table)


def join_devices(backbone: Backbone, place: Placement) -> None:
    """Where modules lie on several devices, move what flows into each of them."""
    if len(place.devices) < 2:
        return
    for name in ("embedding", "norm", *(f"layers.{i}" for i in range(backbone.config.num_layers))):
        backbone.get_submodule(name).register_forward_pre_hook(_mover(place(name)))


def _mover(device: torch.device) -> Any:
    def move(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(one.to(device) if isinstance(one, Tensor) else one for one in inputs)

    return move
