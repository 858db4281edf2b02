"""A run from its options to the model folder: data, start, loop, checkpoints, export."""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..core.errors import BadInput
from ..models.model import Model
from ..models.text import Text
from ..objectives.frequency import counted, token_counts
from ..recipes.recipe import Recipe
from . import checkpoint, tokenizer
from .adapters import inject
from .card import export
from .data import Few, Source, Special, TaskSource, open_source, reading, tasks
from .data.tasks import read_stories
from .loop import Run
from .options import RESULT, Options, any_micro, claim, configure, facts
from .processes import Processes
from .start import BOX, adapted, check, scratch, special_of
from .telemetry import Log, plot

TOKENIZER, SAMPLE = "tokenizer.json", 20_000
TRAIL = (
    64  # generated answers trail end tokens up to multiples of it, whatever the model's block: twins share their data
)
Say = Callable[[str], None]
Show = Callable[[dict[str, Any]], None]


def train(options: Options, say: Say = print, show: Show = lambda line: None) -> dict[str, Any]:
    """Train a recipe and write its model to options.out/model.

    say   gets remarks, show every step's log line with `steps` and `left` (seconds) in it; in the main process only
    Returns {recipe, step, steps, loss, tokens, seconds, tokens_per_second, out, model, decodes_with, finished}.

    BadInput for options that do not fit, before the first step; Stopped where the run cannot go on. Ctrl-C ends the step,
    writes a checkpoint and returns with finished False.
    """
    recipe = configure(options)
    processes = Processes(options.device)
    told = say if processes.main else _quiet
    if not options.data and recipe.tasks is None:
        raise BadInput(
            f"recipe {recipe.name} has no generated data of its own; give --data with a text, jsonl or parquet file, or a "
            "hub id."
        )
    free = ("micro",) if any_micro(recipe.program) else ()
    processes.first(lambda: claim(options.out, facts(recipe, options), options.resume, free))
    if options.vocab:
        processes.first(lambda: learn_tokenizer(recipe, options))
    model = begin(recipe, options, told)
    special = special_of(model, recipe)
    source = open_data(recipe, options, model, special)
    if "token_counts" in recipe.needs:
        recipe = count(recipe, source, model)
    saved = checkpoint.newest(options.out, told) if options.resume else None
    if options.resume:
        told(
            f"going on from step {saved.state['step']}" if saved else "there is no whole checkpoint; starting at step 0"
        )
    run = Run(recipe, model, source, special, processes, options.fsdp, options.recompute, saved, Few(told))
    log = Log(options.out, run.step, told, options.tensorboard, options.wandb, recipe.name) if processes.main else None
    try:
        with interruptible() as asked:
            finished = loop(run, options, log, show if processes.main else _quiet, lambda: bool(asked))
    finally:
        if log:
            log.close()
    tensors = save(run, options.out)
    result = summary(run, options, finished)
    if finished:

        def write() -> None:
            plot(options.out, recipe.name)
            weights = tensors["ema"] if options.export == "ema" and run.ema else tensors["model"]
            export(begin(recipe, options, _quiet), weights, recipe, options, result)

        processes.first(write)
    if processes.main:
        with checkpoint.writing(options.out / RESULT):
            (options.out / RESULT).write_text(json.dumps(result) + "\n", encoding="utf-8")
    processes.close()
    return result


def begin(recipe: Recipe, options: Options, say: Say) -> Model:
    """The model as it is before the first step, the same each time."""
    if options.init is not None:
        model = adapted(recipe, options.init, options.mask, say)
    else:
        if recipe.start == "causal":
            say(
                f"recipe {recipe.name} is made for a causal checkpoint (--init); training its small model from scratch."
            )
        if options.mask is not None:
            raise BadInput(
                "--mask names the mask token of a checkpoint; from scratch there is one already, leave it out."
            )
        learned = options.out / TOKENIZER
        model = scratch(recipe, Tokenizer.from_file(str(learned if options.vocab else BOX)))
    check(recipe, model)
    if options.adapter is not None:
        inject(model, options.adapter, recipe.seed)
    return model


def loop(run: Run, options: Options, log: Log | None, show: Show, interrupted: Callable[[], bool]) -> bool:
    """Steps until the recipe's or the time's end (True) or until interrupted (False), with checkpoints in between."""
    recipe, processes = run.recipe, run.processes
    saved, began, first = run.seconds, run.seconds, run.step
    while run.step < recipe.steps:
        spent = run.seconds / (60 * options.minutes) if options.minutes else 0.0
        due = (options.save_steps and run.step > first and run.step % options.save_steps == 0) or (
            run.seconds - saved > 60 * options.save_minutes
        )
        mine = {
            "stop": float(interrupted()),
            "due": float(bool(due) and processes.main),
            "spent": spent * processes.main,
        }
        agreed = processes.total(mine)
        if agreed["stop"]:
            return False
        progress = max(run.step / recipe.steps, agreed["spent"])
        if progress >= 1:
            break
        if agreed["due"]:
            save(run, options.out)
            saved = run.seconds
        line = run.advance(progress)
        if log:
            log.write(line)
        share = max(run.step / recipe.steps, run.seconds / (60 * options.minutes) if options.minutes else 0.0)
        left = (recipe.steps - run.step) * (run.seconds - began) / (run.step - first)
        if options.minutes:
            left = min(left, max(60 * options.minutes - run.seconds, 0.0))
        show(line | {"steps": recipe.steps, "progress": min(share, 1.0), "left": left})
    return True


def save(run: Run, out: Path) -> dict[str, dict[str, Any]]:
    """A checkpoint of the run; what it holds."""
    tensors, numbers = run.state()
    run.processes.first(lambda: _discard(checkpoint.write(out, run.step, tensors, numbers)))
    return tensors


def open_data(recipe: Recipe, options: Options, model: Model, special: Special) -> Source:
    """The recipe's generated tasks, or the files of --data."""
    if model.tokenizer is None:
        raise BadInput(f"{model.name} has no tokenizer, and data is text; give a checkpoint with one.")
    if options.data:
        data = reading(options.data, options.reads)
        return open_source(data, model.tokenizer, special, recipe.rows, recipe.seed)
    assert recipe.tasks is not None
    path = Path(recipe.tasks.stories)
    stories = read_stories(path, recipe.tasks.num_stories) if path.exists() else None
    return TaskSource(tasks.Source(model.tokenizer.backend, TRAIL, recipe.seed, stories), recipe.tasks)


def learn_tokenizer(recipe: Recipe, options: Options) -> None:
    """A byte-level BPE tokenizer of options.vocab tokens from the data, kept in the run's folder."""
    if options.init is not None or not options.data:
        raise BadInput("--vocab learns a tokenizer from --data for a model from scratch; leave it out with --init.")
    path = options.out / TOKENIZER
    if not path.exists():
        boxed = Tokenizer.from_file(str(BOX))
        data = reading(options.data, options.reads)
        source: Any = open_source(data, Text(boxed), Special(0, 0), recipe.rows, recipe.seed)
        documents = source.read(0, min(len(source), SAMPLE))
        tokenizer.build((boxed.decode(d.tokens) for d in documents), options.vocab).save(str(path))


def count(recipe: Recipe, source: Source, model: Model) -> Recipe:
    """The recipe with the token counts of the data in its program: of one epoch, at most SAMPLE documents."""
    sized: Any = source
    num = min(len(sized), SAMPLE) if hasattr(source, "__len__") else SAMPLE
    rows = (d.tokens for first in range(0, num, 256) for d in source.read(first, min(256, num - first)))
    return dataclasses.replace(recipe, program=counted(recipe.program, token_counts(rows, model.traits.vocab)))


def summary(run: Run, options: Options, finished: bool) -> dict[str, Any]:
    """The one value of --json."""
    from .telemetry import LOG, lines

    last = lines(options.out / LOG)[-20:] if run.processes.main else []
    return {
        "recipe": run.recipe.name,
        "step": run.step,
        "steps": run.recipe.steps,
        "loss": sum(line["loss"] for line in last) / len(last) if last else None,
        "tokens": run.tokens,
        "seconds": round(run.seconds, 3),
        "tokens_per_second": round(run.tokens / run.seconds, 1) if run.seconds else None,
        "out": str(options.out),
        "model": str(options.out / "model") if finished else None,
        "decodes_with": run.recipe.decodes_with,
        "finished": finished,
    }


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """A list that is not empty once Ctrl-C or SIGTERM came; a second Ctrl-C ends at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: Any) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _discard(_: object) -> None:
    pass


def _quiet(_: object) -> None:
    pass
