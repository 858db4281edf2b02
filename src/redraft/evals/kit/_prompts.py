"""Prompts of recorded cases speak ids: mask ids in them are blanks, attention masks mark left padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.types import Prompt


def prompts(meta: Mapping[str, Any], num_new: int, blanks: bool = True) -> tuple[Prompt, ...]:
    masks = meta.get("attention_mask") or [None] * len(meta["prompt_ids"])
    out = []
    for ids, attention in zip(meta["prompt_ids"], masks, strict=True):
        pads = 0 if attention is None else len(attention) - sum(attention)
        holes = frozenset(i for i, token in enumerate(ids) if token == meta["mask_id"] and i >= pads)
        out.append(Prompt(tuple(ids), num_new, blanks=holes if blanks else frozenset(), pads=pads))
    return tuple(out)
