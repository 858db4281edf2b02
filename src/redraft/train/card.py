"""The trained model as an ordinary folder, with a model card that says how it came about and how to decode it."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..models.model import Model
from ..recipes.recipe import Recipe
from . import adapters
from .loop import restore
from .options import Options

MAIN = "networks.main."
CALLED = {"data": "data", "reads": "read", "sets": "set"}
CARD = """# {name}

A diffusion language model trained with redraft's recipe `{name}` ({paper}).

- **Form.** {weights:,} weights, {dtype}; {attention} attention{block}, {shift} predictions, {noise} noise, context
  {context}. {start}
- **Objective.** {parts}
- **Training.** `{command}`, seed {seed}: {steps:,} steps, {tokens:,} tokens, {minutes:.1f} minutes; loss {loss} over the
  last steps. {average}
- **Data.** {data}

## Decode

    redraft generate "..." --model {folder}{method}

## Measured

{scores}
"""


def shares(recipe: Recipe, steps: int) -> dict[str, float]:
    """Each task's share of all samples drawn in `steps`."""
    if recipe.tasks is None:
        return {}
    stages = recipe.tasks.stages
    ends = [*(s.start for s in stages[1:]), steps]
    out: dict[str, float] = {}
    for stage, end in zip(stages, ends, strict=True):
        drawn = stage.batch * max(min(end, steps) - stage.start, 0) / max(recipe.tasks.samples(steps), 1)
        total = sum(share for _, share in stage.mix)
        for name, share in stage.mix:
            out[name] = out.get(name, 0.0) + drawn * share / total
    return out


def table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Scores as a table; each entry holds accuracy, limit (problems) and tokens_per_forward."""
    if not scores:
        return "Nothing was measured for this export beyond the training loss; `redraft eval` measures tasks."
    lines = ["| task | accuracy | problems | tokens per forward |", "| --- | --- | --- | --- |"]
    for name, s in scores.items():
        lines.append(f"| {name} | {100 * s['accuracy']:.1f} % | {s['limit']:.0f} | {s['tokens_per_forward']:.2f} |")
    return "\n".join(lines)


def named(source: str) -> str:
    """A file's or folder's own name, without the machine's path to it; a hub id as it is."""
    return Path(source).name if Path(source).exists() else source


def shown(path: Path) -> str:
    """A folder below the working folder as it is called from there, another one by its name alone."""
    if not path.is_absolute():
        return str(path)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else path.name


def command(recipe: Recipe, options: Options) -> str:
    """The whole command line that trains the model again; files by their names."""
    plain = Options(options.recipe, options.out)
    words = ["redraft", "train", recipe.name]
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), field.name.replace("_", "-")
        if field.name in ("recipe", "resume") or (value == getattr(plain, field.name) and field.name != "out"):
            continue
        if isinstance(value, adapters.Adapter):
            words += ["--adapter", value.kind, "--rank", str(value.rank)]
            words += ["--alpha", str(value.alpha)] if value.alpha else []
            words += ["--targets", ",".join(value.targets)] if value.targets else []
        elif field.name == "out":
            words += ["--out", shown(options.out)]
        elif isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, tuple):
            for one in value:
                words += [f"--{CALLED[name]}", named(one) if name == "data" else one]
        else:
            words += [f"--{name}", named(value) if name == "init" else str(value)]
    return shlex.join(words)


def card(
    model: Model,
    recipe: Recipe,
    options: Options,
    result: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """The README.md of a trained model. result: what `redraft.train.run.train` returns."""
    t = model.traits
    mix = ", ".join(f"{task} {100 * share:.0f} %" for task, share in shares(recipe, result["step"]).items())
    ema = recipe.ema and options.export == "ema"
    return CARD.format(
        name=recipe.name,
        paper=recipe.paper,
        weights=sum(p.numel() for p in model.backbone.parameters()),
        dtype=str(model.dtype).removeprefix("torch."),
        attention=t.attention,
        block=f" in blocks of {t.block}" if t.attention == "block" else "",
        shift="shifted" if t.shift else "aligned",
        noise="uniform" if t.noise == "uniform" else "absorbing",
        context=f"{t.context} tokens" if t.context else "not bounded by the config",
        start=f"Started from {named(options.init)}." if options.init else "Trained from scratch.",
        parts="; ".join(f"{slot} `{part}`" for slot, part in recipe.parts().items()),
        command=command(recipe, options),
        seed=recipe.seed,
        steps=result["step"],
        tokens=result["tokens"],
        minutes=result["seconds"] / 60,
        loss=f"{result['loss']:.4f}" if result["loss"] is not None else "unknown",
        average=f"Weights are the moving average with decay {recipe.ema}." if ema else "",
        data=f"Generated by `redraft.evals.tasks`: {mix}." if mix else f"Files: {', '.join(map(named, options.data))}.",
        folder=shlex.quote(f"{shown(options.out)}/model"),
        method=f' --method "{recipe.decodes_with}"' if recipe.decodes_with else "",
        scores=table(scores or {}),
    )


def export(
    model: Model,
    weights: Mapping[str, Tensor],
    recipe: Recipe,
    options: Options,
    result: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """The trained weights in `model`, which is as the run began, written to options.out/model.

    With an adapter it is written by itself too, to options.out/adapter in PEFT's format, and merged into the model.
    """
    own = {name.removeprefix(MAIN): value for name, value in weights.items() if name.startswith(MAIN)}
    restore(model.backbone, own)
    if options.adapter is not None:
        folder = options.out / "adapter"
        shutil.rmtree(folder, ignore_errors=True)
        adapters.save(model, options.adapter, own, folder, options.init or "")
        adapters.merge(model.backbone)
    readme = card(model, recipe, options, result, scores)
    dataclasses.replace(model, files=model.files | {"README.md": readme.encode()}).save(options.out / "model")
