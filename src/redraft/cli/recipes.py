"""`redraft recipes`: the table of training recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from redraft.cli import options as opt
from redraft.cli import output


def recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe, in full.")] = None, json: opt.Json = False
) -> None:
    """List the training recipes: the paper of each, its parts, what it needs and what decodes the result."""
    from redraft import api
    from redraft.cli import tables

    rows = api.recipes_table()
    value = rows if name is None else tables.pick(rows, "recipe", name)
    if json:
        output.put_json(value)
    elif isinstance(value, list):
        output.stdout().print(tables.table(value, ("name", "paper", "needs", "decodes_with")))
    else:
        output.stdout().print(tables.card(value))
