"""Executors: they run asks and never see State."""

from __future__ import annotations

from typing import Any

from ..core.loop import Executor
from ..core.traits import Traits
from .offline import OfflineExecutor


def executor_for(backbone: Any, traits: Traits) -> Executor:
    """The offline executor that fits a model's attention."""
    if traits.attention == "encoder_decoder":
        from .diffusion_gemma import DiffusionGemmaExecutor

        return DiffusionGemmaExecutor(backbone)
    return OfflineExecutor(backbone, traits)


__all__ = ["OfflineExecutor", "executor_for"]
