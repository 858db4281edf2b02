"""Tiny training runs for the tests of this folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from redraft.models.backbone import BackboneConfig
from redraft.objectives import AtLeastOne, Full, Objective, Program
from redraft.recipes.recipe import Optimiser, Recipe, Rows, Stage, Tasks
from redraft.train.data import TaskSource
from redraft.train.data.tasks import Source
from redraft.train.loop import Run
from redraft.train.options import Options
from redraft.train.processes import Processes
from redraft.train.run import train
from redraft.train.start import BOX, scratch, special_of

SHAPES = BackboneConfig(768, 16, 32, 2, 2, 2, 8, qk_norm=True, tie_embeddings=True)
SMALL = (
    "model.hidden_size=16",
    "model.intermediate_size=32",
    "model.num_layers=2",
    "model.num_heads=2",
    "model.num_kv_heads=2",
    "model.head_dim=8",
)
MIX = (("addition", 0.5), ("sort", 0.3), ("json", 0.2))
RECIPE = Recipe(
    paper="for tests",
    program=Objective(masking=AtLeastOne(), layout=Full()),
    needs=("mask",),
    rows=Rows(context=512),
    tasks=Tasks((Stage(0, 6, MIX), Stage(3, 4, MIX))),
    micro=3,
    steps=5,
    optimiser=Optimiser(lr=3e-3, warmup=1),
    model=SHAPES,
    name="tested",
)


def begin(recipe: Recipe = RECIPE, **changes: Any) -> Run:
    """A run under way in this process, with nothing on disk."""
    recipe = replace(recipe, **changes)
    model = scratch(recipe, Tokenizer.from_file(str(BOX)))
    assert model.tokenizer is not None and recipe.tasks is not None
    source = TaskSource(Source(model.tokenizer.backend, 64, recipe.seed), recipe.tasks)
    return Run(recipe, model, source, special_of(model, recipe), Processes("cpu"))


def one(program: Program, **changes: Any) -> Run:
    return begin(program=program, **changes)


def options(out: Path, recipe: str = "redraft_tiny", **changes: Any) -> Options:
    """A run of a few seconds through the front door."""
    plain: dict[str, Any] = {"steps": 4, "batch": 6, "micro": 3, "bf16": False, "tensorboard": False, "device": "cpu"}
    sets = (*SMALL, *changes.pop("sets", ()))
    return Options(recipe, out, **plain | {"sets": sets} | changes)


def go(out: Path, recipe: str = "redraft_tiny", **changes: Any) -> dict[str, Any]:
    return train(options(out, recipe, **changes), say=lambda _: None)


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def saved(out: Path, name: str = "model") -> dict[str, torch.Tensor]:
    """Tensors of the newest checkpoint."""
    return load_file(max((out / "checkpoints").glob("step-*")) / f"{name}.safetensors")


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
