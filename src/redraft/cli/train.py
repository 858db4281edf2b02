"""`redraft train`: options in, progress on standard error, one value or a few lines on standard output."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from redraft.cli import options as opt
from redraft.cli import output
from redraft.core.errors import BadInput, RedraftError

EVERY = 10.0  # seconds between plain lines


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name; `redraft recipes` lists them.")],
    init: Annotated[
        str | None, typer.Option(help="Folder or hub id of the checkpoint to start from (default: the small model).")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="A text, jsonl or parquet file, or a hub id; may be repeated.")
    ] = None,
    read: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="How --data is read, as in turns=one or text=story; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder (default: runs/RECIPE).")] = None,
    steps: Annotated[int | None, typer.Option(help="How many steps.")] = None,
    batch: Annotated[int | None, typer.Option(help="Documents a step, over all processes.")] = None,
    micro: Annotated[int | None, typer.Option(help="Rows at once in one process.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and noise.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last whole checkpoint in --out.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Training time; the rate has fallen to zero at its end.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change the recipe, as in optimiser.warmup=10; repeatable."),
    ] = None,
    bf16: Annotated[bool | None, typer.Option("--bf16/--no-bf16", help="Compute in bfloat16.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Train an adapter instead: lora or boft (PEFT).")] = None,
    rank: Annotated[int, typer.Option(help="LoRA's rank; BOFT's block size.")] = 8,
    alpha: Annotated[float, typer.Option(help="LoRA's scale; 0 takes twice the rank.")] = 0.0,
    targets: Annotated[
        str | None, typer.Option(metavar="A,B", help="Ends of the names of the matrices to adapt (default: all).")
    ] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the weights' moving average; 0 for none.")] = None,
    export: Annotated[str, typer.Option(help="Which weights the model folder gets: ema or raw.")] = "ema",
    block: Annotated[int | None, typer.Option(help="Block size, wherever the recipe names its own.")] = None,
    mask: Annotated[str | None, typer.Option(help="Text or id of the mask token of --init.")] = None,
    vocab: Annotated[
        int, typer.Option(help="Learn a tokenizer of so many tokens from --data (default: redraft-tiny's).")
    ] = 0,
    launcher: Annotated[str, typer.Option(help="none, torchrun or ray: how further processes are started.")] = "none",
    num_processes: Annotated[int, typer.Option(help="Processes of torchrun, workers of ray.")] = 1,
    fsdp: Annotated[
        bool, typer.Option("--fsdp/--no-fsdp", help="Split the weights over the processes (FSDP2).")
    ] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Gradient checkpointing: less memory, more time.")
    ] = False,
    preview: Annotated[int, typer.Option(help="Show so many rows, what is masked and learned in them, and leave.")] = 0,
    preview_png: Annotated[
        Path | None, typer.Option(help="With --preview: draw the rows to this PNG file too.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu (keeps off the GPUs there are) or cuda.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each process on the CPU.")] = None,
    save_minutes: Annotated[float, typer.Option(help="Minutes of training between checkpoints.")] = 5.0,
    save_steps: Annotated[int, typer.Option(help="Steps between checkpoints, beside --save-minutes; 0: none.")] = 0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard/--no-tensorboard", help="Write TensorBoard files.")
    ] = True,
    wandb: Annotated[bool, typer.Option("--wandb", help="Report to Weights & Biases.")] = False,
    json: opt.Json = False,
) -> None:
    """Train a recipe, from scratch or from a checkpoint; the model comes to be in OUT/model."""
    one_of("--launcher", launcher, ("none", "torchrun", "ray"))
    if num_processes < 1:
        raise BadInput(f"--num-processes should be a whole number above 0, found {num_processes}.")
    if num_processes > 1 and launcher == "none":
        raise BadInput(f"--num-processes {num_processes} needs --launcher torchrun (or ray) to start them.")
    if preview_png is not None and not preview:
        raise BadInput("--preview-png draws the rows of --preview; give --preview with how many.")
    if threads is not None:
        import torch

        if threads < 1:
            raise BadInput(f"--threads should be a whole number above 0, found {threads}.")
        torch.set_num_threads(threads)
    from redraft.train.adapters import Adapter
    from redraft.train.options import Options

    one_of("--adapter", adapter, ("lora", "boft"))
    one_of("--export", export, ("ema", "raw"))
    kind: Any = adapter
    which: Any = export
    options = Options(
        recipe=recipe,
        out=out or Path("runs") / recipe,
        init=init,
        data=tuple(data or ()),
        reads=tuple(read or ()),
        steps=steps,
        batch=batch,
        micro=micro,
        lr=lr,
        seed=seed,
        resume=resume,
        minutes=minutes,
        sets=tuple(sets or ()),
        bf16=bf16,
        ema=ema,
        block=block,
        mask=mask,
        adapter=Adapter(kind, rank, alpha, targets=tuple(targets.split(",")) if targets else ()) if kind else None,
        fsdp=fsdp,
        recompute=recompute,
        export=which,
        vocab=vocab,
        device=device,
        save_minutes=save_minutes,
        save_steps=save_steps,
        tensorboard=tensorboard,
        wandb=wandb,
    )
    if preview:
        from redraft.cli.preview import preview as show

        show(options, preview, json, preview_png)
        return
    if launcher == "torchrun" and "RANK" not in os.environ:
        from redraft.train.launch import torchrun
        from redraft.train.options import configure

        configure(options)  # a wrong option is said here, once
        raise typer.Exit(torchrun(without(sys.argv[1:]), num_processes, threads or 1))
    first = os.environ.get("RANK", "0") == "0"
    if fsdp and launcher != "ray" and os.environ.get("WORLD_SIZE", "1") == "1":
        output.note("--fsdp splits weights over processes, and there is one; training as without it.")
    try:
        result = on_ray(options, num_processes) if launcher == "ray" else plain(options)
    except RedraftError:
        if first:
            raise
        time.sleep(2.0)  # torchrun ends all processes with the first that leaves, and the main one has yet to say why
        raise typer.Exit(1) from None
    if not first:
        return
    if json:
        output.put_json(result)
    if not result["finished"]:
        output.note(
            f"stopped at step {result['step']} of {result['steps']} with a checkpoint; go on by the same command and --resume"
        )
        raise typer.Exit(130)
    if not json:
        tell(result)


def one_of(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise BadInput(f"{name} should be one of {', '.join(known)}, found {value!r}.")


def plain(options: Any) -> dict[str, Any]:
    """The run in this process, or this one's share of it."""
    from redraft.train.run import train as run

    with Progress() as show:
        return run(options, output.note, show)


def on_ray(options: Any, num: int) -> dict[str, Any]:
    from redraft.train.launch import ray

    return ray(options, num, output.note)


def without(arguments: list[str]) -> list[str]:
    """The command line for torchrun's processes: the same without --launcher and --num-processes."""
    out, skip = [], False
    for one in arguments:
        if skip:
            skip = False
        elif one in ("--launcher", "--num-processes"):
            skip = True
        elif not one.startswith(("--launcher=", "--num-processes=")):
            out.append(one)
    return out


def tell(result: dict[str, Any]) -> None:
    """How it ended, for people."""
    loss = "" if result["loss"] is None else f", loss {result['loss']:.4f}"
    method = f' --method "{result["decodes_with"]}"' if result["decodes_with"] else ""
    output.put_text(f"{result['model']}: {result['step']} steps, {result['tokens']} tokens{loss}")
    output.put_text(f'redraft generate "..." --model {result["model"]}{method}')


class Progress:
    """A bar on a terminal, a plain line now and then elsewhere; called with each step's log line."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.console = output.stderr()
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), console=self.console, transient=True)
        self.task = self.bar.add_task("the first step", total=1.0)
        self.last, self.write = -EVERY, self._plain
        if self.console.is_terminal:
            self.write = self._draw

    def __enter__(self) -> Callable[[dict[str, Any]], None]:
        if self.console.is_terminal:
            self.bar.start()
        return lambda line: self.write(line)

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def _draw(self, line: dict[str, Any]) -> None:
        self.bar.update(self.task, completed=line["progress"], description=words(line))

    def _plain(self, line: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self.last >= EVERY or line["step"] == line["steps"]:
            self.last = now
            output.note(words(line))


def words(line: dict[str, Any]) -> str:
    """A step in one line."""
    left = int(line["left"])
    hours, minutes = left // 3600, left // 60 % 60
    time_left = f"{hours} h {minutes} min" if hours else f"{minutes} min {left % 60} s" if minutes else f"{left} s"
    return (
        f"step {line['step']} of {line['steps']}, loss {line['loss']:.4f}, {line['tokens_per_second']:,.0f} tokens/s, "
        f"{time_left} left"
    )
