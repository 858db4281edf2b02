"""Model families over shared layers, and what reads and writes their checkpoints."""

from .backbone import Backbone, BackboneConfig, MoEConfig, dense
from .family import Family, family_of, known_families
from .load import load
from .model import Model
from .text import Text
from .wrap import wrap

__all__ = [
    "Backbone",
    "BackboneConfig",
    "Family",
    "MoEConfig",
    "Model",
    "Text",
    "dense",
    "family_of",
    "known_families",
    "load",
    "wrap",
]
