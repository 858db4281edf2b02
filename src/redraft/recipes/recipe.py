"""A recipe: everything a training run is, as one frozen value. A file of this folder names one."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from ..core.errors import UnknownName
from ..models.backbone import BackboneConfig
from ..objectives import Program
from .curriculum import Curve


@dataclass(frozen=True)
class Optimiser:
    """AdamW; with muon=True Muon (orthogonalised momentum) for the layers' matrices and AdamW for the rest."""

    lr: float = 3e-4
    muon: bool = False
    muon_lr: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    clip: float = 1.0
    warmup: int = 100  # steps
    decay: float = 0.2  # the last share of the run, over which the rate falls to zero


@dataclass(frozen=True)
class Rows:
    """How documents become rows.

    context  longest row in tokens            pack   several documents a row, which never see each other
    end      how the end of an answer is supervised: "first" one end token is learned and the padding behind it is not
             there; "all" the padding up to the widest row of the step is end tokens, all learned; "none" no end token is
             learned; "rainbow" as "all", with `num_pads` tokens of its own in a circle (arXiv:2510.03680)
    align    answers are filled up to a multiple of `align` places (block models), with learned tokens where end is "all" or
             "rainbow", else with masks that are seen and not learned; 0: not
    long     documents longer than the context: "split", "truncate" or "error"
    """

    context: int = 512
    pack: bool = False
    end: Literal["first", "all", "none", "rainbow"] = "first"
    num_pads: int = 0
    align: int = 0
    long: Literal["split", "truncate", "error"] = "split"


@dataclass(frozen=True)
class Stage:
    """From step `start` on: samples a step, and the mix of the repository's own tasks as (task, share)."""

    start: int
    batch: int
    mix: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Tasks:
    """Training data that is generated: stages of task mixes, and stories (num_stories: 0 all, else the shortest)."""

    stages: tuple[Stage, ...]
    num_stories: int = 0
    stories: str = "../shared/data/tinystories_sample/stories.jsonl.gz"

    def stage(self, step: int) -> Stage:
        """The stage that `step` belongs to."""
        return max((s for s in self.stages if s.start <= step), key=lambda s: s.start)

    def samples(self, step: int) -> int:
        """How many samples were drawn before `step`."""
        ends = [*(s.start for s in self.stages[1:]), step]
        return sum(s.batch * max(min(end, step) - s.start, 0) for s, end in zip(self.stages, ends, strict=True))


SMALL = BackboneConfig(
    vocab_size=768,
    hidden_size=192,
    intermediate_size=512,
    num_layers=6,
    num_heads=6,
    num_kv_heads=6,
    head_dim=32,
    qk_norm=True,
    tie_embeddings=True,
)


@dataclass(frozen=True)
class Recipe:
    """paper        arXiv id and title, or what the recipe is by itself
    program      an Objective, or a program of several forwards
    start        "scratch", "causal" (an autoregressive checkpoint: --init) or "any"
    shift, attention, block, noise, edits   what a decoder must know of the model that comes out (Traits)
    curriculum   parts of the program that change during the run
    needs        what else must be there: "mask", "teacher", "two_forwards", ... one word each
    decodes_with the text form of the method that decodes the result; "" where none has landed
    rows         how documents become rows      tasks   generated data, or None: --data
    batch, micro documents or rows a step, and of them at once
    model        shapes for training from scratch
    """

    paper: str
    program: Program
    start: Literal["scratch", "causal", "any"] = "any"
    shift: bool = False
    attention: Literal["full", "causal", "block", "encoder_decoder"] = "full"
    block: int = 0
    noise: Literal["mask", "uniform"] = "mask"
    edits: bool = False
    curriculum: tuple[Curve, ...] = ()
    needs: tuple[str, ...] = ()
    decodes_with: str = ""
    rows: Rows = Rows()
    tasks: Tasks | None = None
    batch: int = 32
    micro: int = 8
    optimiser: Optimiser = Optimiser()
    steps: int = 1000
    ema: float = 0.0
    seed: int = 0
    bf16: bool = False
    model: Any = SMALL
    name: str = ""

    def documents(self, step: int) -> tuple[int, int]:
        """(number of the first, how many) of the documents of a step, counted from 0."""
        if self.tasks is not None:
            return self.tasks.samples(step), self.tasks.stage(step).batch
        return step * self.batch, self.batch

    def parts(self) -> dict[str, str]:
        """The program's parts by slot, as text: the objective's fields, or the program's own."""
        return describe(self.program)


def describe(program: Any) -> dict[str, str]:
    """A program's fields as text."""
    fields = dataclasses.fields(program)
    return {"program": type(program).__name__} | {f.name: repr(getattr(program, f.name)) for f in fields}


@cache
def known_recipes() -> dict[str, Recipe]:
    """All recipes by name: the files of this folder with a RECIPE, and those of the entry point `redraft.recipes`."""
    from importlib.metadata import entry_points

    package = importlib.import_module(__package__ or "redraft.recipes")
    found: dict[str, Recipe] = {}
    for module in pkgutil.iter_modules(package.__path__):
        recipe = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "RECIPE", None)
        if isinstance(recipe, Recipe):
            found[module.name] = dataclasses.replace(recipe, name=module.name)
    for entry in entry_points(group="redraft.recipes"):
        recipe = entry.load()
        if isinstance(recipe, Recipe) and entry.name not in found:
            found[entry.name] = dataclasses.replace(recipe, name=entry.name)
    return found


def recipe_of(name: str) -> Recipe:
    """The recipe of a name; UnknownName with a hint otherwise."""
    if name not in known_recipes():
        raise UnknownName("recipe", name, known_recipes())
    return known_recipes()[name]
