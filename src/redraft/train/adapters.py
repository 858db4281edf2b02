"""Adapters through PEFT: LoRA (arXiv:2106.09685) and BOFT (arXiv:2311.06243) on the matrices of the layers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..core.errors import BadInput
from ..models.family import known_families
from ..models.injected import Injected
from ..models.model import Model
from .processes import layers_of

Kind = Literal["lora", "boft"]


@dataclass(frozen=True)
class Adapter:
    """kind     "lora": W + alpha / rank * B A; "boft": R W with R orthogonal, a product of butterflies of small blocks
    rank     LoRA's rank, BOFT's block size (it must divide every matrix's inputs)
    alpha    LoRA's scale, 0: twice the rank
    factors  BOFT's butterfly factors
    targets  ends of modules' names; () takes every matrix of the layers
    """

    kind: Kind
    rank: int = 8
    alpha: float = 0.0
    factors: int = 1
    targets: tuple[str, ...] = ()


def inject(model: Model, adapter: Adapter, seed: int) -> None:
    """Freeze the model and put adapters into its layers, in place. BadInput for what does not fit."""
    try:
        import peft
        from peft import BOFTConfig, LoraConfig
    except ImportError:
        raise BadInput("adapters come from PEFT, which is not installed; pip install 'redraft[train]'.") from None
    found = matrices(model.backbone)
    names = [n for n in found if not adapter.targets or n.endswith(tuple(f".{t}" for t in adapter.targets))]
    if not names:
        known = ", ".join(sorted({n.rpartition(".")[2] for n in found})) or "none"
        raise BadInput(f"no matrix of the layers is called {', '.join(adapter.targets)}; there are: {known}.")
    if adapter.rank < 1:
        raise BadInput(f"rank should be a whole number above 0, found {adapter.rank}.")
    if adapter.kind == "boft":
        turned = next((n for n in names if not isinstance(found[n], nn.Linear)), None)
        if turned is not None:
            raise BadInput(
                f"PEFT's BOFT adapts linear layers, and {turned} of {model.name} is a {type(found[turned]).__name__}; take "
                "--adapter lora, which adapts both."
            )
        odd = sorted(n for n in names if found[n].in_features % adapter.rank)
        if odd:
            raise BadInput(
                f"BOFT's blocks of {adapter.rank} should divide the inputs of every linear matrix it turns, and "
                f"{odd[0]} has {tuple(found[odd[0]].weight.shape)}; choose another --rank or other --targets."
            )
        config: Any = BOFTConfig(
            target_modules=names,
            boft_block_size=adapter.rank,
            boft_block_num=0,
            boft_n_butterfly_factor=adapter.factors,
        )
    else:
        transposed = any(not isinstance(found[n], nn.Linear) for n in names)  # Conv1D holds its matrix (in, out)
        config = LoraConfig(
            target_modules=names,
            r=adapter.rank,
            lora_alpha=adapter.alpha or 2 * adapter.rank,
            fan_in_fan_out=transposed,
        )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # BOFT without its CUDA extension warns once a layer
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, model.backbone)


def matrices(backbone: nn.Module) -> dict[str, Any]:
    """The layers' matrices by name: linear modules and GPT-2's transposed ones."""
    inside = {id(m) for layer in layers_of(backbone) for m in layer.modules()}
    return {
        name: m
        for name, m in backbone.named_modules()
        if id(m) in inside and (isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D")
    }


def theirs(model: Model, ours: str) -> str:
    """A module's name in the model's own checkpoints, which PEFT's files go by."""
    if isinstance(model.backbone, Injected):
        return ours.removeprefix("model.")
    return known_families()[model.family].theirs(f"{ours}.weight")[0].removesuffix(".weight")


def save(model: Model, adapter: Adapter, weights: Mapping[str, Tensor], folder: Path, base: str) -> None:
    """The adapter as PEFT writes it: adapter_config.json and adapter_model.safetensors.

    weights  the adapter's parameters by the injected model's names
    """
    tensors: dict[str, Tensor] = {}
    modules = set()
    for name, value in weights.items():
        module, _, leaf = next(name.partition(cut) for cut in (".lora_", ".boft_") if cut in name)
        kind = ".lora_" if ".lora_" in name else ".boft_"
        modules.add(theirs(model, module))
        tensors[f"base_model.model.{theirs(model, module)}{kind}{leaf.replace('.default', '')}"] = value.contiguous()
    config: dict[str, Any] = {
        "base_model_name_or_path": base,
        "bias": "none",
        "inference_mode": True,
        "peft_type": adapter.kind.upper(),
        "target_modules": sorted(modules),
    }
    if adapter.kind == "lora":
        fan = any(type(m).__name__ == "Conv1D" for m in matrices(model.backbone).values())
        config |= {"r": adapter.rank, "lora_alpha": adapter.alpha or 2 * adapter.rank, "fan_in_fan_out": fan}
    else:
        config |= {
            "boft_block_size": adapter.rank,
            "boft_block_num": 0,
            "boft_n_butterfly_factor": adapter.factors,
        }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def merge(backbone: nn.Module) -> None:
    """Adapters into the weights, in place; the modules are the original ones again."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(backbone.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, leaf = name.rpartition(".")
            setattr(backbone.get_submodule(parent), leaf, module.get_base_layer())
    if hasattr(backbone, "peft_config"):
        del backbone.peft_config
