"""Fast-dLLM v2: block diffusion from Qwen2.5 with shifted predictions (arXiv:2509.26328)."""

from __future__ import annotations

from ...core.traits import Traits
from ..config import Raw, read_traits, size
from ..family import HF_NAMES, Family
from .qwen2 import config


def traits(raw: Raw, generation: Raw) -> Traits:
    block = size(raw, "bd_size", 32)
    return read_traits(raw, generation, attention="block", shift=True, block=block, mask=151665, eos=(151645, 151643))


FAMILY = Family(
    name="fast_dllm_v2",
    source="arXiv:2509.26328",
    model_types=("Fast_dLLM_Qwen",),
    architectures=("Fast_dLLM_QwenForCausalLM",),
    config=config,
    traits=traits,
    names=HF_NAMES,
)
