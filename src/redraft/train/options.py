"""Everything a run can be told beside its recipe, and the recipe that comes of it."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import BadInput
from ..recipes.curriculum import put
from ..recipes.recipe import Recipe, recipe_of
from .adapters import Adapter
from .start import with_block

FACTS, RESULT = "run.json", "result.json"
BEGUN = ("log.jsonl", "checkpoints", "model")  # what a run leaves


@dataclass(frozen=True)
class Options:
    """What `redraft train` takes; None leaves the recipe's own. A plain value, so that launchers can send it on.

    init      folder or hub id of the checkpoint to start from; None: the recipe's small model from scratch
    data      files or hub ids; () takes the recipe's generated tasks
    out       the run's folder; the trained model comes to be at out/model
    reads     "name=value" ways to read the data, such as "document=line", "turns=one" or "text=story" (data.Data)
    minutes   training time after which the rate has fallen to zero; None: the recipe's steps decide
    sets      "path=value" changes of the recipe, such as "optimiser.warmup=10" or "program.layout.block=8"
    fsdp      split weights over the processes (FSDP2)
    recompute gradient checkpointing
    export    which weights out/model gets: the averaged ones ("ema", where the recipe averages) or the "raw" ones
    vocab     learn a tokenizer of so many tokens from the data (from scratch only); 0: redraft-tiny's
    """

    recipe: str
    out: Path
    init: str | None = None
    data: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    steps: int | None = None
    batch: int | None = None
    micro: int | None = None
    lr: float | None = None
    seed: int | None = None
    resume: bool = False
    minutes: float | None = None
    sets: tuple[str, ...] = ()
    bf16: bool | None = None
    ema: float | None = None
    block: int | None = None
    mask: str | None = None
    adapter: Adapter | None = None
    fsdp: bool = False
    recompute: bool = False
    export: Literal["ema", "raw"] = "ema"
    vocab: int = 0
    device: str | None = None
    save_minutes: float = 5.0
    save_steps: int = 0
    tensorboard: bool = True
    wandb: bool = False


def configure(options: Options) -> Recipe:
    """The recipe with the options applied. BadInput and UnknownName for what it does not have."""
    recipe = recipe_of(options.recipe)
    if options.block is not None:
        if options.block < 1 or recipe.block < 2:
            why = f"found {options.block}" if recipe.block > 1 else f"and recipe {recipe.name} has no blocks"
            raise BadInput(f"--block sets the block size, a whole number above 0, {why}.")
        recipe = with_block(recipe, recipe.block, options.block)
    plain = {"steps": options.steps, "batch": options.batch, "micro": options.micro}
    for name, number in plain.items():
        if number is not None and number < 1:
            raise BadInput(f"--{name} should be a whole number above 0, found {number}.")
    if options.ema is not None and not 0 <= options.ema < 1:
        raise BadInput(f"--ema is the decay of an average, from 0 (none) to below 1, found {options.ema}.")
    changes: dict[str, Any] = plain | {"seed": options.seed, "bf16": options.bf16, "ema": options.ema}
    recipe = dataclasses.replace(recipe, **{k: v for k, v in changes.items() if v is not None})
    if options.data:
        recipe = dataclasses.replace(recipe, tasks=None)
    elif recipe.tasks is not None and options.batch is not None:
        stages = tuple(dataclasses.replace(s, batch=options.batch) for s in recipe.tasks.stages)
        recipe = dataclasses.replace(recipe, tasks=dataclasses.replace(recipe.tasks, stages=stages))
    if options.lr is not None:
        if not 0 < options.lr < 100:
            raise BadInput(f"--lr should be a rate above 0, such as 3e-4, found {options.lr}.")
        o = recipe.optimiser
        scaled = o.muon_lr * options.lr / o.lr
        recipe = dataclasses.replace(recipe, optimiser=dataclasses.replace(o, lr=options.lr, muon_lr=scaled))
    for one in options.sets:
        recipe = changed(recipe, one)
    # a short run is not all warm-up
    warmup = min(recipe.optimiser.warmup, max(recipe.steps // 10, 1))
    return dataclasses.replace(recipe, optimiser=dataclasses.replace(recipe.optimiser, warmup=warmup))


def changed(recipe: Recipe, text: str) -> Recipe:
    """The recipe after "path=value"."""
    path, sign, raw = (part.strip() for part in text.partition("="))
    if not sign or not path:
        raise BadInput(f"--set expects path=value such as optimiser.warmup=10, found {text!r}.")
    try:
        value: Any = ast.literal_eval(raw)
    except (ValueError, SyntaxError):
        value = raw
    old = look_up(recipe, path, text)
    kinds = (int, float) if isinstance(old, float) else type(old)
    if dataclasses.is_dataclass(old) or (old is not None and not isinstance(value, kinds)):
        raise BadInput(f"--set {path} replaces {old!r}, so it expects {type(old).__name__}, found {raw!r}.")
    return put(recipe, path, float(value) if isinstance(old, float) else value)


def look_up(value: Any, path: str, text: str) -> Any:
    """What stands at a dotted path."""
    for name in path.split("."):
        if isinstance(value, tuple) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
            continue
        known = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
        if name not in known:
            fits = ", ".join(known) or (f"0 to {len(value) - 1}" if isinstance(value, tuple) else "nothing below it")
            raise BadInput(f"--set {text}: there is no {name!r} here; there is {fits}.")
        value = getattr(value, name)
    return value


def facts(recipe: Recipe, options: Options) -> dict[str, Any]:
    """What makes a run the run it is: a resumed one must have the same. Steps may change, the rate then does too."""
    free = ("steps", "name", "decodes_with", "paper")
    # a short run's warm-up follows its steps
    recipe = dataclasses.replace(recipe, optimiser=dataclasses.replace(recipe.optimiser, warmup=0))
    texts = {f.name: repr(getattr(recipe, f.name)) for f in dataclasses.fields(recipe) if f.name not in free}
    texts |= {
        "init": repr(options.init),
        "data": repr(options.data),
        "reads": repr(options.reads),
        "adapter": repr(options.adapter),
    }
    texts |= {"mask": repr(options.mask), "vocab": repr(options.vocab)}
    return {"recipe": recipe.name} | {k: re.sub(r" at 0x[0-9a-f]+", "", v) for k, v in texts.items()}


def claim(out: Path, own: Mapping[str, Any], resume: bool) -> None:
    """Make `out` this run's folder. BadInput where it holds something else, or another run."""
    path = out / FACTS
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(own), indent=1) + "\n", encoding="utf-8")
        return
    if not path.is_file():
        raise BadInput(f"--out {out} holds something that is not a run of redraft; choose a new or empty folder.")
    if not resume and not any((out / name).exists() for name in BEGUN):
        path.write_text(json.dumps(dict(own), indent=1) + "\n", encoding="utf-8")  # it failed before its first step
        return
    if not resume:
        raise BadInput(f"--out {out} holds a run already; go on with it by --resume, or choose another folder.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise BadInput(f"{path} cannot be read; choose another --out.") from None
    other = sorted(k for k in {*found, *own} if found.get(k) != own.get(k))
    if other:
        name = other[0]
        raise BadInput(
            f"the run in {out} has {name} {found.get(name)}, and this command has {own.get(name)}; resume with the options "
            "it was begun with, or choose another folder."
        )
