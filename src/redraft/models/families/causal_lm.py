"""Other causal LMs, run by transformers' own classes; each proves at loading that injected attention is all it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..family import Family
from ..injected import Injected, causal_traits, prove, save
from ..injected import load as load_any


def load(folder: Path, raw: dict[str, Any], dtype: torch.dtype | None, device: torch.device) -> nn.Module:
    net = load_any(folder, raw, dtype, device)
    assert isinstance(net, Injected)
    return prove(net)


def wrap(model: nn.Module) -> nn.Module:
    return prove(Injected(model))


FAMILY = Family(
    name="causal_lm",
    source="transformers",
    model_types=(
        "apertus", "arcee", "cohere", "cohere2", "ernie4_5", "exaone4", "glm", "glm4", "gpt_bigcode", "gpt_neox",
        "granite", "mistral", "mixtral", "olmo", "olmo2", "olmo3", "olmoe", "opt", "phi", "phi3", "qwen2_moe",
        "seed_oss", "smollm3", "starcoder2",
    ),
    traits=causal_traits,
    load=load,
    wrap=wrap,
    save=save,
)  # fmt: skip
