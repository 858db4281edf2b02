"""Model families over shared layers, and what reads and writes their checkpoints."""

from .adapt import Adaptation, adapt, adaptation
from .backbone import Backbone, BackboneConfig, MoEConfig, dense
from .dit import DiT, DiTConfig
from .family import Family, family_of, known_families
from .injected import Injected
from .load import load
from .model import Model
from .text import Text
from .wrap import wrap

__all__ = [
    "Adaptation",
    "Backbone",
    "BackboneConfig",
    "DiT",
    "DiTConfig",
    "Family",
    "Injected",
    "MoEConfig",
    "Model",
    "Text",
    "adapt",
    "adaptation",
    "dense",
    "family_of",
    "known_families",
    "load",
    "wrap",
]
