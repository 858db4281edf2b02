"""MDLM: a DiT for masked diffusion with full attention, with or without the noise level (arXiv:2406.07524)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import CheckpointError
from ...core.traits import Traits
from ...ops.rotary import inverse_frequencies
from ..config import Raw, flag, number, read_traits, size
from ..dit import ROPE_THETA, DiT, DiTConfig
from ..family import Family
from ..files import FLOATS, Shards, write_weights
from ..model import SHARD
from ..weights import Source, Uninitialised, export, fill
from ..wrap import InMemory

_BLOCK = "backbone.blocks.{i}"
NAMES = {
    "embedding.weight": "backbone.vocab_embed.embedding",
    "level.inner": "backbone.sigma_map.mlp.0",
    "level.outer": "backbone.sigma_map.mlp.2",
    "layers.{i}.attn_norm": f"{_BLOCK}.norm1",
    "layers.{i}.mlp_norm": f"{_BLOCK}.norm2",
    "layers.{i}.qkv": f"{_BLOCK}.attn_qkv",
    "layers.{i}.out": f"{_BLOCK}.attn_out",
    "layers.{i}.up": f"{_BLOCK}.mlp.0",
    "layers.{i}.down": f"{_BLOCK}.mlp.2",
    "layers.{i}.modulation": f"{_BLOCK}.adaLN_modulation",
    "norm": "backbone.output_layer.norm_final",
    "modulation": "backbone.output_layer.adaLN_modulation",
    "lm_head": "backbone.output_layer.linear",
}
FREQUENCIES = "backbone.rotary_emb.inv_freq"
# tensors of a checkpoint that are no weights; they are written back as they came
CARRIED = (FREQUENCIES, "sampling_eps_min", "sampling_eps_max")


def config(raw: Raw) -> DiTConfig:
    """Also the shapes of BD3-LM; the keys are those of the published configs."""
    width, heads = size(raw, "hidden_dim"), size(raw, "n_heads")
    if width % heads or (width // heads) % 2:
        raise CheckpointError(
            f"config.json should have hidden_dim an even multiple of n_heads, found {width} and {heads}; "
            "correct the file."
        )
    dropout = number(raw, "dropout", 0.0)
    if not 0 <= dropout < 1:
        raise CheckpointError(
            f"config.json should give 'dropout' from 0 to below 1, found {dropout}; correct the file."
        )
    return DiTConfig(
        vocab_size=size(raw, "vocab_size"),
        hidden_size=width,
        num_layers=size(raw, "n_blocks"),
        num_heads=heads,
        cond_size=size(raw, "cond_dim", 128),
        dropout=dropout,
        adaptive=flag(raw, "adaln", True),
        conditioned=flag(raw, "time_conditioning"),
    )


def traits(raw: Raw, generation: Raw) -> Traits:
    # the published models speak GPT-2's ids, 50256 its end of text, with the mask as one more row at the end
    last = size(raw, "vocab_size") - 1
    return read_traits(raw, generation, attention="full", shift=False, mask=last, eos=(50256,), context="model_length")


def describe(config: DiTConfig, traits: Traits) -> dict[str, Any]:
    """The config.json of a DiT with these shapes and traits: `Model(DiT(config), traits, "mdlm", describe(...))`."""
    return {
        "model_type": "mdlm",
        "architectures": ["MDLM"],
        "vocab_size": config.vocab_size,
        "model_length": traits.context,
        "hidden_dim": config.hidden_size,
        "cond_dim": config.cond_size,
        "n_blocks": config.num_layers,
        "n_heads": config.num_heads,
        "dropout": config.dropout,
        "adaln": config.adaptive,
        "time_conditioning": config.conditioned,
        "mask_token_id": traits.mask,
        "eos_token_id": list(traits.eos),
    }


class Weights:
    """A source without the tensors that are no weights; those it found are in `carried`."""

    def __init__(self, base: Source) -> None:
        self.base, self.where = base, base.where
        known = base.shapes()
        self.carried = {name: base.get(name) for name in CARRIED if name in known}

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: shape for name, shape in self.base.shapes().items() if name not in self.carried}

    def get(self, name: str) -> Tensor:
        return self.base.get(name)

    def stacked(self, names: Sequence[str]) -> Tensor | None:
        return None


def filled(source: Source, shapes: DiTConfig, dtype: torch.dtype | None, device: torch.device | None) -> DiT:
    """A DiT with the source's tensors; one that needs no change is shared, not copied."""
    weights = Weights(source)
    with torch.device("meta"), Uninitialised():
        model = DiT(shapes)
    fill(model, FAMILY, weights, lambda _: device, dtype)  # type: ignore[arg-type]
    model.carried = weights.carried
    return model


def load(folder: Path, raw: dict[str, Any], dtype: torch.dtype | None, device: torch.device) -> nn.Module:
    shards = Shards(folder)
    odd = sorted(name for name, kind in shards.dtypes.items() if kind not in FLOATS)
    if odd:
        raise CheckpointError(
            f"{folder} holds {odd[0]} as {shards.dtypes[odd[0]]}, and weights should be float32 or bfloat16; "
            "take the original."
        )
    return filled(shards, config(raw), dtype, device)


def wrap(model: nn.Module) -> nn.Module:
    found: Any = model.config
    return filled(InMemory(model), config(found.to_dict()), None, None)


def save(module: nn.Module, folder: Path) -> None:
    assert isinstance(module, DiT)
    carried = dict(module.carried)
    carried.setdefault(FREQUENCIES, inverse_frequencies(module.config.head_dim, ROPE_THETA)[0])
    write_weights(folder, [*export(module, FAMILY), *carried.items()], SHARD)  # type: ignore[arg-type]


FAMILY = Family(
    name="mdlm",
    source="arXiv:2406.07524",
    model_types=("mdlm",),
    architectures=("MDLM",),
    traits=traits,
    names=NAMES,
    load=load,
    wrap=wrap,
    save=save,
)
