"""Gemma 1, 2 and 3 (text): causal, run by transformers' own classes (arXiv:2403.08295, 2408.00118, 2503.19786)."""

from __future__ import annotations

from dataclasses import replace

from ...core.traits import Traits
from ..config import Raw, read_traits, size
from ..family import Family
from ..injected import load, refuse, save, wrap


def traits(raw: Raw, generation: Raw) -> Traits:
    """A window in use bounds the context: up to it every layer sees what the checkpoint's own layers see."""
    refuse(raw)
    # 1 is <eos>; chat answers end with 107 (Gemma 1, 2) or 106 (Gemma 3), which generation_config.json names
    found = read_traits(raw, generation, attention="causal", shift=True, block=1, eos=(1,))
    if raw.get("model_type") == "gemma" or not raw.get("sliding_window"):
        return found
    kinds = raw.get("layer_types")
    if kinds and "sliding_attention" not in kinds:
        return found
    window = size(raw, "sliding_window")
    return replace(found, context=min(window, found.context or window))


FAMILY = Family(
    name="gemma",
    source="arXiv:2403.08295, arXiv:2408.00118, arXiv:2503.19786",
    model_types=("gemma", "gemma2", "gemma3_text"),
    traits=traits,
    load=load,
    wrap=wrap,
    save=save,
)
