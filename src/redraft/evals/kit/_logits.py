"""Recorded logits: dense forwards and forwards against stored K/V, through the executor's own path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.types import Ask, Draw, Prediction, Sight
from ...engine.offline import OfflineExecutor
from ...models.model import Model
from ._entry import entry

ALL = slice(None)


@dataclass
class Session:
    """A model with its K/V: forwards over the same canvas."""

    model: Model
    block: int = 0  # 0 = full attention

    def __post_init__(self) -> None:
        traits = replace(self.model.traits, shift=False, mask=None)
        self.executor = OfflineExecutor(self.model.backbone, traits)  # type: ignore[arg-type]

    def forward(
        self, ids: Tensor, run: slice = ALL, read: slice | None = None, write: bool = False, valid: Tensor | None = None,
        pos: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """ids (B, T) -> unshifted logits (B, run, V); `read` columns come from what an earlier call wrote."""
        rows, width = ids.shape
        real = torch.ones_like(ids, dtype=torch.bool) if valid is None else valid
        columns = torch.arange(width).expand(rows, width)

        def only(part: slice | None) -> Tensor:
            out = torch.zeros_like(real)
            if part is not None:
                out[:, part] = True
            return out & real

        pos = columns if pos is None else pos
        rank = torch.zeros_like(columns) if not self.block else columns // self.block
        none = torch.full_like(columns, -1)
        ask = Ask(
            tokens=ids, run=only(run), read=only(read), write=only(run) & write, want=only(run), sight=Sight(pos, rank, rank, none, none),
            slot=torch.arange(rows), draw=Draw(), need=frozenset({"logits"}),
        )  # fmt: skip
        pred: Prediction = self.executor.run([ask])[0]
        return pred.read("logits")[:, run]


def plain(case: Any, model: Model, name: str, block: int, tensors: Mapping[str, Tensor]) -> Tensor:
    """`<what>_<input>...`: ids_<input> of the case, left padding where it has one."""
    what = re.split(r"_", name)[1 if not name.startswith("hidden") and not name.startswith("router") else 2]
    ids = ids_of(case, what)
    valid = entry(case, "attention_mask_padded").bool() if what == "padded" else None
    pos = entry(case, "tok_idx_padded") if what == "padded" and "tok_idx_padded" in tensors else None
    return Session(model, block).forward(ids, valid=valid, pos=pos)


def ids_of(case: Any, what: str) -> Tensor:
    ids = entry(case, f"ids_{what}")
    return ids[None] if ids.dim() == 1 else ids


def everything(
    case: Any, model: Model, block_of: Callable[[str], int], skip: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """All plain logits, hidden states and router logits of a case; block_of(name) gives the block, 0 = full attention."""
    out: dict[str, Tensor] = {}
    tensors = case.tensors()
    for name, expected in tensors.items():
        if not expected.is_floating_point() or name.startswith(("train_", "noise_", "logits_train", *skip)):
            continue
        with recording(model) as seen:
            logits = plain(case, model, name, block_of(name), tensors)
        if name.startswith("logits_"):
            out[name] = logits
        elif name.startswith("hidden_states_"):
            out[name] = torch.stack([*seen.hidden[:-1], seen.hidden[-1]])[:, None]
        elif name.startswith("router_logits_"):
            out[name] = torch.stack(seen.router)[:, None]
    return out


@dataclass
class Seen:
    hidden: list[Tensor]
    router: list[Tensor]


@contextmanager
def recording(model: Model) -> Iterator[Seen]:
    """Each layer's input and the last norm's output; each router's scores before the squashing."""
    seen = Seen([], [])
    backbone: Any = model.backbone
    hooks = [
        layer.register_forward_pre_hook(lambda _, args: seen.hidden.append(args[0].clone()))
        for layer in backbone.layers
    ]
    hooks.append(backbone.norm.register_forward_hook(lambda _, __, out: seen.hidden.append(out.clone())))
    for layer in backbone.layers:
        router = getattr(layer.mlp, "router", None)
        if router is not None:
            hooks.append(
                router.register_forward_hook(
                    lambda r, args, _: seen.router.append(F.linear(args[0].float(), r.weight.float()))
                )
            )
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
