"""A model family: how a checkpoint's config and weight names map onto the shared layers. One file each in `families/`.

The registry is found by file: a module in `redraft.models.families` with a `FAMILY` is a family; nothing else is
edited.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import CheckpointError, UnknownName
from ..core.traits import Traits
from .backbone import BackboneConfig
from .config import Raw


@dataclass(frozen=True)
class Family:
    """How one kind of checkpoint maps onto redraft.

    name            the file's name
    source          the paper or model card: arXiv ids
    model_types     `model_type` values in config.json
    architectures   `architectures` values; they decide before `model_type` (LLaDA-MoE is published under LLaDA's type)
    config          config.json -> shapes and switches of the shared layers
    traits          (config.json, generation_config.json) -> what a decoder must know
    names           our weight names -> theirs: a whole name or a module's; `{i}` is the layer, `{e}` an expert
                    (stacked). An empty table means the same names.
    load            only for a family with layers of its own: (folder, config.json, dtype, device) -> a module with the
                    backbone's interface; then `config` and `names` are not used
    wrap            likewise: a Hugging Face model in memory -> that module
    save            likewise: (module, folder) writes the weights there
    """

    name: str
    source: str
    model_types: tuple[str, ...]
    traits: Callable[[Raw, Raw], Traits]
    config: Callable[[Raw], BackboneConfig] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    architectures: tuple[str, ...] = ()
    load: Callable[[Path, dict[str, Any], torch.dtype | None, torch.device], nn.Module] | None = None
    wrap: Callable[[nn.Module], nn.Module] | None = None
    save: Callable[[nn.Module, Path], None] | None = None

    def theirs(self, ours: str, experts: int = 0) -> tuple[str, ...]:
        """The checkpoint's name or names (one per expert, to be stacked) of our weight."""
        if not self.names:
            return (ours,)
        layer = re.match(r"layers\.(\d+)\.", ours)
        key = f"layers.{{i}}.{ours[layer.end() :]}" if layer else ours
        module, _, leaf = key.rpartition(".")
        if key in self.names:
            name = self.names[key]
        elif module in self.names:
            name = f"{self.names[module]}.{leaf}"
        else:
            raise CheckpointError(f"family {self.name!r} has no name for the weight {ours!r}; add it to its table.")
        name = name.replace("{i}", layer[1] if layer else "")
        return tuple(name.replace("{e}", str(e)) for e in range(experts)) if "{e}" in name else (name,)


HF_NAMES: Mapping[str, str] = {
    "embedding": "model.embed_tokens",
    "norm": "model.norm",
    "lm_head": "lm_head",
    "layers.{i}.attn_norm": "model.layers.{i}.input_layernorm",
    "layers.{i}.mlp_norm": "model.layers.{i}.post_attention_layernorm",
    "layers.{i}.attn.q": "model.layers.{i}.self_attn.q_proj",
    "layers.{i}.attn.k": "model.layers.{i}.self_attn.k_proj",
    "layers.{i}.attn.v": "model.layers.{i}.self_attn.v_proj",
    "layers.{i}.attn.o": "model.layers.{i}.self_attn.o_proj",
    "layers.{i}.attn.q_norm": "model.layers.{i}.self_attn.q_norm",
    "layers.{i}.attn.k_norm": "model.layers.{i}.self_attn.k_norm",
    "layers.{i}.mlp.gate.weight": "model.layers.{i}.mlp.gate_proj.weight",
    "layers.{i}.mlp.up.weight": "model.layers.{i}.mlp.up_proj.weight",
    "layers.{i}.mlp.down.weight": "model.layers.{i}.mlp.down_proj.weight",
    "layers.{i}.mlp.gate.bias": "model.layers.{i}.mlp.gate_proj.bias",
    "layers.{i}.mlp.up.bias": "model.layers.{i}.mlp.up_proj.bias",
    "layers.{i}.mlp.down.bias": "model.layers.{i}.mlp.down_proj.bias",
    "layers.{i}.mlp.router.weight": "model.layers.{i}.mlp.gate.weight",
    "layers.{i}.mlp.router.bias": "model.layers.{i}.mlp.gate.expert_bias",
    "layers.{i}.mlp.gate": "model.layers.{i}.mlp.experts.{e}.gate_proj.weight",
    "layers.{i}.mlp.up": "model.layers.{i}.mlp.experts.{e}.up_proj.weight",
    "layers.{i}.mlp.down": "model.layers.{i}.mlp.experts.{e}.down_proj.weight",
    "layers.{i}.mlp.shared.gate": "model.layers.{i}.mlp.shared_experts.gate_proj",
    "layers.{i}.mlp.shared.up": "model.layers.{i}.mlp.shared_experts.up_proj",
    "layers.{i}.mlp.shared.down": "model.layers.{i}.mlp.shared_experts.down_proj",
}


@cache
def known_families() -> Mapping[str, Family]:
    """All families by name."""
    from . import families as package

    found: dict[str, Family] = {}
    for module in pkgutil.iter_modules(package.__path__):
        family = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "FAMILY", None)
        if isinstance(family, Family):
            found[family.name] = family
    return found


def family_of(raw: Raw) -> Family:
    """The family of a config.json; `architectures` decides before `model_type`."""
    architectures = raw.get("architectures") or ()
    for family in known_families().values():
        if any(one in family.architectures for one in architectures):
            return family
    kind = raw.get("model_type")
    if not isinstance(kind, str):
        raise CheckpointError(
            "config.json must name its 'model_type', found none; is this a Hugging Face model folder?"
        )
    # a family over the shared layers takes a type from one that runs another library's class
    ordered = sorted(known_families().values(), key=lambda family: family.config is not None)
    types = {one: family for family in ordered for one in family.model_types}
    if kind in types:
        return types[kind]
    hint = str(UnknownName("model family", kind, types)).rstrip(".")
    extra = " (its auto_map names code in the checkpoint, which redraft never runs)" if raw.get("auto_map") else ""
    raise CheckpointError(f"{hint}{extra}; add a family by one file, docs/add-a-model-family.md says how.")
