"""redraft's own checkpoints: the model in the box and whatever redraft trains from scratch.

config.json holds the fields of BackboneConfig and Traits by their own names, under "backbone" and "traits"; weights
carry redraft's names. `describe` writes such a config.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ...core.errors import CheckpointError
from ...core.traits import Traits
from ..backbone import BackboneConfig, MoEConfig
from ..config import Raw
from ..family import Family


def _fields(kind: type, given: Any, where: str) -> dict[str, Any]:
    known = {one.name for one in dataclasses.fields(kind)}
    needed = {
        one.name
        for one in dataclasses.fields(kind)
        if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
    }
    if not isinstance(given, dict) or not needed <= given.keys() <= known:
        found = sorted(given) if isinstance(given, dict) else given
        raise CheckpointError(
            f"config.json must give {where!r} as a table with {', '.join(sorted(needed))} (and at most "
            f"{', '.join(sorted(known - needed))}), found {found!r}; was the folder written by a newer redraft?"
        )
    return dict(given)


def config(raw: Raw) -> BackboneConfig:
    given = _fields(BackboneConfig, raw.get("backbone"), "backbone")
    if given.get("moe") is not None:
        moe = _fields(MoEConfig, given["moe"], "moe")
        given["moe"] = MoEConfig(**moe | {"dense_layers": frozenset(moe.get("dense_layers") or ())})
    return BackboneConfig(**given)


def traits(raw: Raw, generation: Raw) -> Traits:
    given = _fields(Traits, raw.get("traits"), "traits")
    return Traits(**given | {"eos": tuple(given["eos"])})


def describe(config: BackboneConfig, traits: Traits) -> dict[str, Any]:
    """The config.json of a model with these shapes and traits."""
    backbone = dataclasses.asdict(config)
    if config.moe is not None:
        backbone["moe"]["dense_layers"] = sorted(config.moe.dense_layers)
    if config.rope_scaling is not None:
        backbone["rope_scaling"] = dict(config.rope_scaling)
    return {
        "model_type": "redraft",
        "architectures": ["RedraftModel"],
        "backbone": backbone,
        "traits": dataclasses.asdict(traits) | {"eos": list(traits.eos)},
        "vocab_size": config.vocab_size,
    }


FAMILY = Family(
    name="redraft",
    source="this project",
    model_types=("redraft",),
    architectures=("RedraftModel",),
    config=config,
    traits=traits,
)
