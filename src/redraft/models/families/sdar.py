"""SDAR, dense and mixture of experts, and TraDo: block diffusion in Qwen3's shapes (arXiv:2510.06303, 2509.06949)."""

from __future__ import annotations

from ...core.traits import Traits
from ..config import Raw, read_traits, size
from ..family import HF_NAMES, Family
from .qwen3 import config


def traits(raw: Raw, generation: Raw) -> Traits:
    block = size(raw, "block_size", 4)
    return read_traits(
        raw, generation, attention="block", shift=False, block=block, mask=151669, eos=(151643,), also=(151645,)
    )


FAMILY = Family(
    name="sdar",
    source="arXiv:2510.06303, arXiv:2509.06949",
    model_types=("sdar", "sdar_moe"),
    architectures=("SDARForCausalLM", "SDARMoeForCausalLM"),
    config=config,
    traits=traits,
    names=HF_NAMES,
)
