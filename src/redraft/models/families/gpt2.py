"""GPT-2: causal with learned positions, run by transformers' own class (Radford et al. 2019)."""

from __future__ import annotations

from ...core.traits import Traits
from ..config import Raw
from ..family import Family
from ..injected import causal_traits, load, save, wrap


def traits(raw: Raw, generation: Raw) -> Traits:
    return causal_traits(raw, generation, eos=(50256,))


FAMILY = Family(
    name="gpt2",
    source="openai-community/gpt2",
    model_types=("gpt2",),
    traits=traits,
    load=load,
    wrap=wrap,
    save=save,
)
