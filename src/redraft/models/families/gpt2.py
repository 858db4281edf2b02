"""GPT-2: causal with learned positions, run by transformers' own class (Radford et al. 2019)."""

from __future__ import annotations

from ...core.traits import Traits
from ..config import Raw, read_traits
from ..family import Family
from ..injected import load, refuse, save, wrap


def traits(raw: Raw, generation: Raw) -> Traits:
    refuse(raw)
    return read_traits(raw, generation, attention="causal", shift=True, block=1, eos=(50256,), context="n_positions")


FAMILY = Family(
    name="gpt2",
    source="openai-community/gpt2",
    model_types=("gpt2",),
    traits=traits,
    load=load,
    wrap=wrap,
    save=save,
)
