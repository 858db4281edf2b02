"""Forwards as these tests need them: rectangular batches, hidden states of every layer, stale keys and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from redraft.models import dense
from redraft.ops.attention import attention


def hidden(backbone: Any, ids: Tensor, mask: Tensor | None = None, pos: Tensor | None = None) -> Tensor:
    """ids (B, T), mask (B | 1, T, T) bool, pos (B, T) -> (B, T, D)."""
    b, t = ids.shape
    pos = torch.arange(t).expand(b, t) if pos is None else pos
    with torch.inference_mode():
        return backbone(backbone.embed(ids.flatten()), pos.flatten(), dense(mask, b)).view(b, t, -1)


def logits(backbone: Any, ids: Tensor, mask: Tensor | None = None, pos: Tensor | None = None) -> Tensor:
    with torch.inference_mode():
        return backbone.head(hidden(backbone, ids, mask, pos))


def layerwise(backbone: Any, run: Callable[[], Tensor]) -> list[Tensor]:
    """What enters each layer, and the last hidden state."""
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for layer in backbone.layers]
    last = run()
    for hook in hooks:
        hook.remove()
    return [*(one.view_as(last) for one in seen), last]


def with_stale_keys(backbone: Any, old: Tensor, new: Tensor, start: int, end: int, mask: Tensor | None) -> Tensor:
    """Logits (1, end - start, V) of new[start:end]; every other column's keys and values are those of a run on `old`.

    mask (T, T) bool. Columns from `end` on are seen too unless the mask hides them.
    """
    keys: dict[int, tuple[Tensor, Tensor]] = {}

    def record(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys[layer] = (k.clone(), v.clone())
        return dense(None if mask is None else mask[None], 1)(layer, q, k, v)

    def reuse(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        full_k, full_v = (one.clone() for one in keys[layer])
        full_k[start:end], full_v[start:end] = k, v
        rows = None if mask is None else mask[None, None, start:end]
        out = attention(*(one.transpose(0, 1)[None] for one in (q, full_k, full_v)), rows)
        return out[0].transpose(0, 1)

    with torch.inference_mode():
        backbone(backbone.embed(old[0]), torch.arange(old.shape[1]), record)
        out = backbone(backbone.embed(new[0, start:end]), torch.arange(start, end), reuse)
        return backbone.head(out)[None]


def block_causal(length: int, block: int) -> Tensor:
    """(1, T, T) bool: a token sees its own block and all before it."""
    index = torch.arange(length) // block
    return index[None, :, None] >= index[None, None, :]


def two_stream(length: int, block: int) -> Tensor:
    """(1, 2T, 2T) bool for [noisy, clean]: noisy sees its noisy block and earlier clean ones, clean is block-causal."""
    index = torch.arange(length) // block
    same, before = index[:, None] == index[None], index[:, None] > index[None]
    noisy = torch.cat((same, before), 1)
    clean = torch.cat((torch.zeros_like(same), same | before), 1)
    return torch.cat((noisy, clean))[None]
