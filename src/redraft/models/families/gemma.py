"""Gemma 1, 2 and 3 (text): causal, run by transformers' own classes (arXiv:2403.08295, 2408.00118, 2503.19786)."""

from __future__ import annotations

from ...core.traits import Traits
from ..config import Raw
from ..family import Family
from ..injected import causal_traits, load, save, wrap


def traits(raw: Raw, generation: Raw) -> Traits:
    # 1 is <eos>; what ends a chat answer (107, in Gemma 3 106) is named by generation_config.json
    return causal_traits(raw, generation, eos=(1,))


FAMILY = Family(
    name="gemma",
    source="arXiv:2403.08295, arXiv:2408.00118, arXiv:2503.19786",
    model_types=("gemma", "gemma2", "gemma3_text"),
    traits=traits,
    load=load,
    wrap=wrap,
    save=save,
)
