"""Everything a run can be told beside its recipe, and the recipe that comes of it."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import BadInput
from ..objectives import Objective
from ..objectives.auxiliary import Certainty
from ..recipes.curriculum import put
from ..recipes.recipe import Recipe, recipe_of
from . import sound
from .adapters import Adapter
from .checkpoint import writing
from .loop import parts
from .start import with_block

FACTS, RESULT = "run.json", "result.json"
WINDOWS, WINDOW = 256, 1 << 20
FEWEST = 260  # tokens of a learned tokenizer
# fields that say what the program makes; another value here would not change what is learned
TOLD = {
    "attention": "who sees whom is program.layout's to say",
    "shift": "what is predicted is program.target's to say",
    "noise": "the noise is program.noise's to say",
    "edits": "the noise is program.noise's to say",
    "block": "give --block, which sets it everywhere",
    "start": "give --init or leave it out",
    "needs": "it follows from the program",
    "name": "it is the recipe's own",
}
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
    usable(options)
    if options.block is not None:
        if options.block < 1 or recipe.block < 2:
            why = f"found {options.block}" if recipe.block > 1 else f"and recipe {recipe.name} has no blocks"
            raise BadInput(f"--block sets the block size, a whole number above 0, {why}.")
        recipe = with_block(recipe, recipe.block, options.block)
    changes = {name: getattr(options, name) for name in ("steps", "batch", "micro", "seed", "bf16", "ema")}
    recipe = dataclasses.replace(recipe, **{k: v for k, v in changes.items() if v is not None})
    sound.check(recipe)
    if options.data:
        recipe = dataclasses.replace(recipe, tasks=None)
    elif recipe.tasks is not None and options.batch is not None:
        stages = tuple(dataclasses.replace(s, batch=options.batch) for s in recipe.tasks.stages)
        recipe = dataclasses.replace(recipe, tasks=dataclasses.replace(recipe.tasks, stages=stages))
    if options.lr is not None:
        o = recipe.optimiser
        scaled = o.muon_lr * options.lr / o.lr
        recipe = dataclasses.replace(recipe, optimiser=dataclasses.replace(o, lr=options.lr, muon_lr=scaled))
    for one in options.sets:
        recipe = changed(recipe, one)
    sound.check(recipe)
    # a short run is not all warm-up
    warmup = min(recipe.optimiser.warmup, max(recipe.steps // 10, 1))
    return dataclasses.replace(recipe, optimiser=dataclasses.replace(recipe.optimiser, warmup=warmup))


def usable(options: Options) -> None:
    """BadInput for options beside the recipe that cannot be meant."""
    for name, minutes in {"--minutes": options.minutes, "--save-minutes": options.save_minutes}.items():
        if minutes is not None and not 0 < minutes < float("inf"):
            raise BadInput(f"{name} should be a number of minutes above 0, found {minutes}.")
    if options.save_steps < 0:
        raise BadInput(f"--save-steps should be a whole number of steps, or 0 for none, found {options.save_steps}.")
    if options.device not in (None, "auto", "cpu", "cuda"):
        raise BadInput(f"--device should be auto, cpu or cuda, found {options.device!r}.")
    if options.vocab and options.vocab < FEWEST:
        raise BadInput(
            f"--vocab should be at least {FEWEST} tokens (256 bytes and the special ones), found {options.vocab}."
        )
    if options.export not in ("ema", "raw"):
        raise BadInput(f"--export should be ema or raw, found {options.export!r}.")


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
    if path in TOLD:
        raise BadInput(f"--set {path} would only rename what recipe {recipe.name} makes; {TOLD[path]}.")
    kinds = (int, float) if isinstance(old, float) else type(old)
    wrong = old is not None and (not isinstance(value, kinds) or isinstance(value, bool) != isinstance(old, bool))
    if dataclasses.is_dataclass(old) or wrong:
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
    plain = {"recipe": recipe.name} | {k: re.sub(r" at 0x[0-9a-f]+", "", v) for k, v in texts.items()}
    return plain | {"files": contents(recipe, options)}


def contents(recipe: Recipe, options: Options) -> dict[str, dict[str, Any]]:
    """Size and a hash of every local file the documents come from, by path."""
    paths = options.data or ((recipe.tasks.stories,) if recipe.tasks else ())
    return {one: digest(Path(one)) for one in paths if Path(one).is_file() and os.access(one, os.R_OK)}


def digest(path: Path) -> dict[str, Any]:
    """A file's size and SHA-256; of a long file, that of WINDOWS pieces spread over it."""
    size, hashed = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        if size <= WINDOWS * WINDOW:
            hashed = hashlib.file_digest(file, "sha256")
        else:
            for i in range(WINDOWS):
                file.seek((size - WINDOW) * i // (WINDOWS - 1))
                hashed.update(file.read(WINDOW))
    return {"bytes": size, "sha256": hashed.hexdigest()}


def any_micro(program: Any) -> bool:
    """Whether a step's gradient is the same whatever the micro-batches: nothing is drawn or scaled for each of them."""
    return type(program) is Objective and not any(
        isinstance(one, Certainty) or getattr(one, "balance", None) for one in parts(program)
    )


def claim(out: Path, own: Mapping[str, Any], resume: bool, free: tuple[str, ...] = ()) -> None:
    """Make `out` this run's folder; a resumed run may differ in `free`. BadInput where it holds something else, or another
    run; Stopped where nothing can be written."""
    path = out / FACTS
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        with writing(path):
            out.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dict(own), indent=1) + "\n", encoding="utf-8")
        return
    if not path.is_file():
        raise BadInput(f"--out {out} holds something that is not a run of redraft; choose a new or empty folder.")
    if not resume and not any((out / name).exists() for name in BEGUN):
        with writing(path):  # it failed before its first step
            path.write_text(json.dumps(dict(own), indent=1) + "\n", encoding="utf-8")
        return
    if not resume:
        raise BadInput(f"--out {out} holds a run already; go on with it by --resume, or choose another folder.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise BadInput(f"{path} cannot be read; choose another --out.") from None
    for name, now in own.items():  # the recipe is the first of them
        then = found.get(name)
        if name in free or then == now or (name == "files" and then is None):
            continue
        if name == "files":
            one = next(p for p in sorted({*then, *now}) if then.get(p) != now.get(p))
            raise BadInput(
                f"the data file {one} is not what the run in {out} was begun with; bring it back, or choose another folder."
            )
        where, old, new = difference(name, str(then), str(now))
        raise BadInput(
            f"the run in {out} has {where} {old}, and this command has {new}; resume with the options it was begun with, "
            "or choose another folder."
        )


def difference(name: str, one: str, two: str) -> tuple[str, str, str]:
    """Where two values' texts first differ, as a dotted name, and what stands there: ("optimiser.lr", "0.1", "0.2")."""
    cut = re.compile(r"[(),]|[^(),]+")
    path, field = [name], ""
    for a, b in zip(cut.findall(one), cut.findall(two), strict=False):
        key, sign, _ = a.strip().partition("=")
        if a != b:
            where = [*path, key] if sign and b.strip().startswith(f"{key}=") else [*path, field] if field else path
            old, new = (text.strip().removeprefix(f"{key}=" if sign else "") for text in (a, b))
            if {old, new} & {"(", ")", ","}:
                break
            return ".".join(one for one in where if one), old, new
        if a == "(":
            path, field = [*path, field], ""
        elif a == ")":
            path, field = path[:-1], ""
        elif a == ",":
            field = ""
        else:
            field = key if sign else ""
    return ".".join(one for one in path if one), short(one), short(two)


def short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
