"""Dream and DiffuCoder: masked diffusion from Qwen2.5, full attention, shifted (arXiv:2508.15487, 2506.20639)."""

from __future__ import annotations

from ...core.traits import Traits
from ..config import Raw, read_traits
from ..family import HF_NAMES, Family
from .qwen2 import config


def traits(raw: Raw, generation: Raw) -> Traits:
    return read_traits(raw, generation, attention="full", shift=True, mask=151666, eos=(151643,))


FAMILY = Family(
    name="dream",
    source="arXiv:2508.15487, arXiv:2506.20639",
    model_types=("Dream", "dream"),
    architectures=("DreamModel",),
    config=config,
    traits=traits,
    names=HF_NAMES,
)
