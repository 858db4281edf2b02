"""`redraft eval ppl`: perplexity of a text file, beside the tasks of `redraft eval TASK`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from redraft.cli import options as opt
from redraft.cli import output

TASK = "task"


class Eval(TyperGroup):
    """What is no command of the group is a task's name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in self.commands and first != "--help":
            args = [TASK, *args]
        return super().parse_args(ctx, args)


def ppl(
    data: Annotated[list[Path], typer.Option(help="Text, jsonl or parquet to score (.gz or .xz behind); repeatable.")],
    model: opt.Model = opt.MODEL,
    estimator: Annotated[
        str | None,
        typer.Option(
            help="monte_carlo, exact_count, stratified, coupled, quadrature, blockwise, any_order, left_to_right or "
            "uniform (default: the model's own)."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="Noisings of each window; more make the error smaller.")] = 32,
    limit: Annotated[int | None, typer.Option(help="Score the first N documents (default: all).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    context: Annotated[int | None, typer.Option(help="Longest window in tokens (default: the model's).")] = None,
    stride: Annotated[int | None, typer.Option(help="Tokens scored by each further window (default: context).")] = None,
    json: opt.Json = False,
    device: opt.Device = "cpu",
    dtype: opt.Dtype = None,
    adapter: opt.Adapter = None,
    mask_id: opt.MaskId = None,
    block: opt.Block = None,
) -> None:
    """Perplexity of held-out text, with its standard error, and whether it is exact or an upper bound."""
    from redraft import api
    from redraft.cli.progress import Bar

    given = opt.given(device=device, dtype=dtype, adapter=adapter, mask_id=mask_id, block=block)
    loaded = api.load(model, **given)
    with Bar(output.stderr(), "windows") as bar:
        found = api.perplexity(
            loaded,
            data,
            estimator=estimator,
            samples=samples,
            limit=limit,
            seed=seed,
            context=context,
            stride=stride,
            on_progress=bar,
        )
    if json:
        output.put_json(found)
        return
    from redraft.cli.tables import card

    output.stdout().print(card(found))
