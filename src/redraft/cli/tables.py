"""Lists of methods and models, as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import box
from rich.table import Table

from redraft.core.errors import UnknownName


def plain(value: Any) -> str:
    """A cell's text: lists with commas, mappings as `key value`, nothing as a dash."""
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    return str(value)


def verified(value: Any) -> str:
    """`kit: 71 of 71` from {by, cases, passed}."""
    if not isinstance(value, dict) or not value.get("by"):
        return "-"
    if value.get("cases") is None:
        return plain(value["by"])
    return f"{plain(value['by'])}: {value.get('passed')} of {value['cases']}"


def table(rows: Iterable[dict[str, Any]], columns: Iterable[str], title: str | None = None) -> Table:
    """`rows` by the named columns."""
    columns = list(columns)
    out = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        out.add_column(column.replace("_", " "), overflow="fold", no_wrap=column == "name")
    for row in rows:
        out.add_row(*(verified(row.get(c)) if c == "verified" else plain(row.get(c)) for c in columns))
    return out


def pick(rows: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """The row of that name; raises UnknownName with the nearest ones."""
    for row in rows:
        if row["name"] == name:
            return row
    raise UnknownName(kind, name, (row["name"] for row in rows))


def card(row: dict[str, Any]) -> Table:
    """One row, a line for each key."""
    out = Table(box=None, show_header=False, pad_edge=False)
    out.add_column(style="bold", no_wrap=True)
    out.add_column(overflow="fold")
    for key, value in row.items():
        if key == "slots" and isinstance(value, dict):
            for slot, part in value.items():
                out.add_row(f"  {slot}", plain(part))
        else:
            out.add_row(key.replace("_", " "), verified(value) if key == "verified" else plain(value))
    return out
