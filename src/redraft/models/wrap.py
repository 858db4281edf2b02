"""`wrap`: a Hugging Face model already in memory as a redraft Model, over the same parameters where shapes allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import BadInput
from .family import family_of
from .load import override, traits_of
from .model import Model, check_float16
from .text import Text
from .weights import build, fill


class InMemory:
    """The tensors of a module by the names of its checkpoints; transformers 5 fuses experts: views are given."""

    def __init__(self, module: nn.Module) -> None:
        self.where = type(module).__name__
        state = dict(module.named_parameters(remove_duplicate=False)) | dict(
            module.named_buffers(remove_duplicate=False)
        )
        kept = set(module.state_dict().keys())
        self.tensors: dict[str, Tensor] = {name: tensor for name, tensor in state.items() if name in kept}
        self.fused: dict[str, Tensor] = {}
        for name in [one for one in self.tensors if one.endswith((".experts.gate_up_proj", ".experts.down_proj"))]:
            whole = self.tensors.pop(name)
            root = name.rpartition(".")[0]
            pair = whole.chunk(2, 1) if name.endswith("gate_up_proj") else (whole,)
            for part, kind in zip(pair, ("gate_proj", "up_proj") if len(pair) == 2 else ("down_proj",), strict=True):
                self.fused[f"{root}.{kind}"] = part
                for e in range(whole.shape[0]):
                    self.tensors[f"{root}.{e}.{kind}.weight"] = part[e]

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    def get(self, name: str) -> Tensor:
        return self.tensors[name]

    def stacked(self, names: Sequence[str]) -> Tensor | None:
        root, _, rest = names[0].rpartition(".experts.")
        kind = rest.split(".")[1] if rest.count(".") == 2 else ""
        whole = self.fused.get(f"{root}.experts.{kind}")
        return None if whole is None else whole.detach()


def wrap(
    hf_model: nn.Module,
    tokenizer: Any = None,
    *,
    mask_id: int | None = None,
    eos_id: int | Sequence[int] | None = None,
    block: int | None = None,
) -> Model:
    """A Model over the parameters of a Hugging Face model in memory (one of the families redraft knows).

    Parameters are shared, so training one trains the other; where layouts differ (stacked experts) they are views or
    copies. `tokenizer`, `mask_id`, `eos_id` and `block` as in `load`. CheckpointError for an unknown family,
    BadInput for something that is not such a model.
    """
    config: Any = getattr(hf_model, "config", None)
    if not isinstance(hf_model, nn.Module) or not callable(getattr(config, "to_dict", None)):
        raise BadInput(f"wrap takes a Hugging Face model with its config, found {type(hf_model).__name__}.")
    if hasattr(hf_model, "peft_config"):
        raise BadInput("wrap takes a plain model, found one with PEFT adapters; call merge_and_unload() on it first.")
    raw = _table(config)
    family = family_of(raw)
    named: Any = getattr(hf_model, "generation_config", None)
    extra = named.to_dict() if hasattr(named, "to_dict") else {}
    name = str(getattr(config, "_name_or_path", "") or "")
    traits = override(traits_of(family, raw, extra, name), mask_id, eos_id, block)
    if family.wrap is not None:
        backbone = family.wrap(hf_model)
    else:
        assert family.config is not None
        first = next(hf_model.parameters())
        check_float16(first.dtype, first.device)
        shared = build(family.config(raw))
        fill(shared, family, InMemory(hf_model), lambda _: None, None)
        backbone = shared
    backbone.train(hf_model.training)
    text = None if tokenizer is None else Text.of(tokenizer)
    return Model(backbone, traits, family.name, raw, text, name)


def _table(config: Any) -> dict[str, Any]:
    """config.json's table of a config object, with types as text."""
    raw = dict(config.to_dict())
    for key in ("dtype", "torch_dtype"):
        if isinstance(raw.get(key), torch.dtype):
            raw[key] = str(raw[key]).removeprefix("torch.")
    return raw
