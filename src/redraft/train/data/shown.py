"""Rows as a program sees them: what is known, what the noise took, what is learned; as plain values."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import torch

from ...core.draws import Keyed
from ...core.traits import Traits
from ...objectives import Canvas, Job, Program
from .documents import PIECE, Document, Special
from .rows import Row, canvas

Decode = Callable[[Sequence[int]], str]


def shown(
    batch: Sequence[Row],
    program: Program,
    special: Special,
    traits: Traits,
    seed: int,
    block: int,
    decode: Decode,
) -> Iterator[dict[str, Any]]:
    """One value a row of every forward that the program makes of a micro-batch, its noise drawn as in training.

    Each is {forward, row, width, padding, learned, readings, documents}; a document is {number, piece, task, origin,
    tokens, learned, blocks}; a block (the whole document where block is 0) is {start, time, runs}; time is [lowest,
    highest]; a run is {kind, learned, text, tokens, shown}: kind "known", "suffix", "kept" (the noise left it), "masked"
    or "changed" (another token stands there), shown the ids that the network gets. Programs that draw their noise in the
    forward itself (it is learned) show "answer" in place of the last three.
    """
    made = canvas(batch, special)
    origins = {d.number: d for row in batch for d in row}
    jobs: list[tuple[str, Job | None]] = [*found(program.prepare(made, Keyed(seed), traits))]
    for forward, job in jobs or [("", None)]:
        c = made if job is None else job.canvas
        learned = c.answer.clone() if job is None else torch.zeros_like(c.answer)
        readings: list[Counter[str]] = [Counter() for _ in c.tokens]
        for reading in job.readings if job else ():
            if reading.name == "loss":
                learned[reading.row, reading.column] = True
            for row in reading.row.tolist():
                readings[row][reading.name] += 1
        kinds = _kinds(c, job, traits)
        for row in range(len(c.tokens)):
            columns = [
                Column(*one)
                for one in zip(
                    c.sample[row].tolist(),
                    c.place[row].tolist(),
                    c.tokens[row].tolist(),
                    (c if job is None else job.noised).tokens[row].tolist(),
                    [None] * c.tokens.shape[1] if job is None else job.noised.time[row].tolist(),
                    kinds[row],
                    learned[row].tolist(),
                    strict=True,
                )
            ]
            real = [column for column, there in zip(columns, c.valid[row].tolist(), strict=True) if there]
            documents = groupby(real, attrgetter("number"))
            yield {
                "forward": forward,
                "row": row,
                "width": len(columns),
                "padding": len(columns) - len(real),
                "learned": sum(column.learned for column in real),
                "readings": dict(readings[row]),
                "documents": [_document(origins[number], list(group), block, decode) for number, group in documents],
            }


class Column(NamedTuple):
    number: int
    place: int
    token: int
    shown: int
    time: float | None
    kind: str
    learned: bool


def _document(document: Document, columns: list[Column], block: int, decode: Decode) -> dict[str, Any]:
    blocks = []
    for _, part in groupby(columns, lambda column: column.place // block if block else 0):
        here = list(part)
        times = [column.time for column in here if column.time is not None]
        runs = []
        for (kind, learned), run in groupby(here, attrgetter("kind", "learned")):
            inside = list(run)
            tokens, shown = [column.token for column in inside], [column.shown for column in inside]
            runs.append({"kind": kind, "learned": learned, "text": decode(tokens), "tokens": tokens, "shown": shown})
        time = [round(min(times), 4), round(max(times), 4)] if times else None
        blocks.append({"start": here[0].place, "time": time, "runs": runs})
    return {
        "number": document.number % PIECE,
        "piece": document.number // PIECE,
        "task": document.task,
        "origin": document.origin,
        "tokens": len(columns),
        "learned": sum(column.learned for column in columns),
        "blocks": blocks,
    }


def _kinds(c: Canvas, job: Job | None, traits: Traits) -> list[list[str]]:
    """(B, T) kinds by name."""
    kind = torch.where(c.suffix, 1, torch.where(c.answer, 5, 0))
    if job is not None:
        masked = job.noised.hit & (job.noised.tokens == (-1 if traits.mask is None else traits.mask))
        changed = ~masked & (job.noised.tokens != c.tokens)
        kind = torch.where(c.answer, torch.where(masked, 3, torch.where(changed, 4, 2)), kind)
    names = ("known", "suffix", "kept", "masked", "changed", "answer")
    return [[names[k] for k in row] for row in kind.tolist()]


def found(value: Any, label: str = "") -> Iterator[tuple[str, Job]]:
    """All prepared forwards in what a program prepared, each with its place in it."""
    if isinstance(value, Job):
        yield label, value
    elif isinstance(value, tuple | list):
        for i, one in enumerate(value):
            yield from found(one, f"{label}.{i}".strip("."))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        index = getattr(value, "index", None)
        for field in dataclasses.fields(value):
            name = f"{label}.{index}".strip(".") if isinstance(index, int) else label
            yield from found(getattr(value, field.name), name)
