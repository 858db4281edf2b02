"""BD3-LM: MDLM's DiT trained block by block, each block seeing the clean ones before it (arXiv:2503.09573)."""

from __future__ import annotations

from ...core.traits import Traits
from ..config import Raw, flag, read_traits, size
from ..family import Family
from .mdlm import NAMES, load, save, wrap


def traits(raw: Raw, generation: Raw) -> Traits:
    """`causal` marks the paper's autoregressive baseline, `cross_attn: false` its full-attention one."""
    last = size(raw, "vocab_size") - 1
    if flag(raw, "causal"):
        return read_traits(
            raw, generation, attention="causal", shift=True, block=1, mask=last, eos=(50256,), context="model_length"
        )
    if not flag(raw, "cross_attn", True):
        return read_traits(
            raw, generation, attention="full", shift=False, mask=last, eos=(50256,), context="model_length"
        )
    block = size(raw, "block_size", 1)
    return read_traits(
        raw, generation, attention="block", shift=False, block=block, mask=last, eos=(50256,), context="model_length"
    )


FAMILY = Family(
    name="bd3lm",
    source="arXiv:2503.09573",
    model_types=("bd3lm",),
    architectures=("BD3LM",),
    traits=traits,
    names=NAMES,
    load=load,
    wrap=wrap,
    save=save,
)
