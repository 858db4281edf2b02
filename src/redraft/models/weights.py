"""Between a checkpoint's tensors and the shared layers: fill a backbone by name, and give its weights back by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..core.errors import CheckpointError
from .backbone import Backbone, BackboneConfig
from .family import Family

KEEP_FLOAT32 = ("router.bias",)  # it only orders the experts, and bfloat16 would reorder them


class Source(Protocol):
    """Tensors by the checkpoint's names."""

    where: str

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every name there is, with its shape."""
        ...

    def get(self, name: str) -> Tensor: ...

    def stacked(self, names: Sequence[str]) -> Tensor | None:
        """The tensors of these names as one, where the source already holds them so."""
        ...


class Uninitialised(TorchFunctionMode):
    """Leaves out the initialisation of weights that have no values yet; torch would load its whole compiler for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def build(config: BackboneConfig) -> Backbone:
    """An empty backbone on the meta device: shapes and names only. CheckpointError for figures that do not fit."""
    moe, turned = config.moe, config.rotary_dim or config.head_dim
    if turned % 2 or not 0 < turned <= config.head_dim:
        raise CheckpointError(
            f"config.json should give an even number of rotated channels of at most {config.head_dim}, the head size, "
            f"found {turned}; correct the file."
        )
    if moe is not None and moe.num_experts_per_token > moe.num_experts:
        raise CheckpointError(
            f"config.json should choose at most {moe.num_experts} experts per token, which is all of them, "
            f"found {moe.num_experts_per_token}; correct the file."
        )
    if moe is not None and moe.num_groups > 1:
        each = moe.num_experts // moe.num_groups
        room = each * moe.num_groups_per_token
        odd = moe.num_experts % moe.num_groups or each < 2 or moe.num_groups_per_token > moe.num_groups
        if odd or room < moe.num_experts_per_token:
            raise CheckpointError(
                f"config.json should split {moe.num_experts} experts evenly into groups of two or more that hold the "
                f"{moe.num_experts_per_token} chosen ones, found {moe.num_groups} groups of which "
                f"{moe.num_groups_per_token} are kept; correct the file."
            )
    with torch.device("meta"), Uninitialised():
        return Backbone(config)


def fill(
    backbone: Backbone,
    family: Family,
    source: Source,
    place: Callable[[str], torch.device | None],
    dtype: torch.dtype | None,
) -> None:
    """Put the source's tensors into the (meta) backbone; `place` names the device of our weight, None leaves it there.

    CheckpointError for a missing, left-over or wrongly shaped tensor. One that needs no change is shared, not copied.
    """
    shapes = source.shapes()
    wanted = {ours: names_of(backbone, family, ours) for ours in backbone.state_dict()}
    used = {name for names in wanted.values() for name in names}
    head = names_of(backbone, family, "lm_head.weight")[0] if backbone.config.tie_embeddings else ""
    body = wanted["embedding.weight"][0]
    if head in shapes and body not in shapes:
        wanted["embedding.weight"] = (head,)  # tied weights are stored once, under either name
        used = used - {body} | {head}
    _check_names(source, used, shapes, head, body)
    for ours, names in wanted.items():
        meta = backbone.get_parameter(ours)
        shape = tuple(meta.shape[1:]) if _is_stack(meta, names) else tuple(meta.shape)
        for name in names:
            if tuple(shapes[name]) != shape:
                raise CheckpointError(
                    f"{source.where} has {name} of shape {list(shapes[name])}, and config.json asks for {list(shape)}; "
                    "the folder mixes two models or the config was changed."
                )
        kept = torch.float32 if ours.endswith(KEEP_FLOAT32) and dtype is not None else dtype
        _set(backbone, ours, _read(source, names, meta, place(ours), kept), meta.requires_grad)
    if head in shapes and body in shapes and not torch.equal(source.get(head), source.get(body)):
        raise CheckpointError(
            f"{source.where} has tie_word_embeddings but {head} differs from {body}; "
            "set tie_word_embeddings to false in config.json."
        )


def names_of(backbone: Backbone, family: Family, ours: str) -> tuple[str, ...]:
    """The checkpoint's name or names of our weight; several are stacked in order."""
    moe = backbone.config.moe
    return family.theirs(ours, moe.num_experts if moe else 0)


def export(backbone: Backbone, family: Family) -> Iterator[tuple[str, Tensor]]:
    """(the checkpoint's name, tensor) of every weight; stacked experts are given one by one."""
    for ours, tensor in backbone.state_dict().items():
        names = names_of(backbone, family, ours)
        if _is_stack(tensor, names):
            yield from ((name, tensor[i]) for i, name in enumerate(names))
        else:
            yield names[0], tensor


def _is_stack(tensor: Tensor, names: Sequence[str]) -> bool:
    return len(names) > 1 or (tensor.dim() == 3 and len(names) == 1 and ".experts.0." in names[0])


def _read(
    source: Source, names: Sequence[str], meta: Tensor, device: torch.device | None, dtype: torch.dtype | None
) -> Tensor:
    if not _is_stack(meta, names):
        return source.get(names[0]).to(device=device, dtype=dtype)
    whole = source.stacked(names)
    if whole is not None:
        return whole.to(device=device, dtype=dtype)
    first = source.get(names[0])
    out = torch.empty(meta.shape, dtype=dtype or first.dtype, device=device or first.device)
    for i, name in enumerate(names):
        out[i].copy_(source.get(name))
    return out


def _set(backbone: nn.Module, name: str, tensor: Tensor, requires_grad: bool) -> None:
    module, _, leaf = name.rpartition(".")
    weight = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, requires_grad=requires_grad)
    backbone.get_submodule(module).register_parameter(leaf, weight)


def _check_names(source: Source, used: set[str], shapes: Mapping[str, tuple[int, ...]], head: str, body: str) -> None:
    missing = sorted(used - shapes.keys())
    if missing:
        raise CheckpointError(
            f"{source.where} lacks {len(missing)} of the {len(used)} tensors its config.json asks for, "
            f"such as {missing[0]}; download the folder again."
        )
    # old checkpoints store the rotary table, which follows from config.json
    left = sorted(name for name in shapes.keys() - used - {head} if not name.endswith("rotary_emb.inv_freq"))
    if left:
        raise CheckpointError(
            f"{source.where} holds {len(left)} tensors its config.json has no place for, such as {left[0]}; "
            "the config belongs to another model or says less than the weights."
        )
