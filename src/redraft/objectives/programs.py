"""Programs beside the plain objective: several objectives in one run, several forwards in one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.draws import Draws
from ..core.traits import Traits
from .canvas import Canvas
from .objective import Loss, Models, Program


@dataclass(frozen=True)
class Chosen:
    program: Program
    job: Any
    index: int
    rows: Tensor  # () of this batch

    @property
    def counts(self) -> dict[str, Tensor]:
        own = {f"{self.index}.{name}": count for name, count in self.job.counts.items()}
        return own | {f"{self.index}.rows": self.rows, "rows": self.rows}


@dataclass(frozen=True)
class Mixture:
    """(share, program): every micro-batch draws one, by the number of its first document."""

    programs: tuple[tuple[float, Program], ...]

    def prepare(self, canvas: Canvas, draws: Draws, traits: Traits) -> Chosen:
        chance = float(draws.group(canvas.sample[:1, 0], "program"))
        total = sum(share for share, _ in self.programs)
        index = len(self.programs) - 1
        for i, (share, _) in enumerate(self.programs):
            chance -= share / total
            if chance < 0:
                index = i
                break
        program = self.programs[index][1]
        rows = torch.tensor(float(len(canvas.tokens)), device=canvas.tokens.device)
        return Chosen(program, program.prepare(canvas, draws, traits), index, rows)

    def run(self, models: Models, job: Chosen, counts: Mapping[str, Tensor]) -> Loss:
        own = {name: counts[f"{job.index}.{name}"] for name in job.job.counts}
        found = job.program.run(models, job.job, own)
        # a program's loss is a mean over its own micro-batches; in the step it weighs what its rows are of all
        share = counts[f"{job.index}.rows"] / counts["rows"]
        return Loss(
            found.value * share, {name: part * share for name, part in found.parts.items()}, found.each, found.time
        )


@dataclass(frozen=True)
class Summed:
    """(share, program): all of them on every batch, their losses added with these weights."""

    programs: tuple[tuple[float, Program], ...]

    def prepare(self, canvas: Canvas, draws: Draws, traits: Traits) -> SummedJob:
        return SummedJob(tuple(program.prepare(canvas, draws, traits) for _, program in self.programs))

    def run(self, models: Models, job: SummedJob, counts: Mapping[str, Tensor]) -> Loss:
        total: Tensor | None = None
        parts: dict[str, Tensor] = {}
        first: Loss | None = None
        for i, ((share, program), one) in enumerate(zip(self.programs, job.jobs, strict=True)):
            found = program.run(models, one, {name: counts[f"{i}.{name}"] for name in one.counts})
            total = share * found.value if total is None else total + share * found.value
            parts |= {f"{i}.{name}": part for name, part in found.parts.items()}
            first = first or found
        assert total is not None and first is not None
        return Loss(total, parts, first.each, first.time)


@dataclass(frozen=True)
class SummedJob:
    jobs: tuple[Any, ...]

    @property
    def counts(self) -> dict[str, Tensor]:
        return {f"{i}.{name}": count for i, job in enumerate(self.jobs) for name, count in job.counts.items()}


@dataclass(frozen=True)
class Split:
    """Every row goes to one of two programs, to the first with probability `share`, by the number of its first document;
    their losses are added (Eso-LM). A part that got no row adds nothing."""

    share: float
    first: Program
    second: Program

    def prepare(self, canvas: Canvas, draws: Draws, traits: Traits) -> SplitJob:
        chance = draws.group(canvas.sample[:, 0], "split")
        parts = []
        for program, rows in ((self.first, chance < self.share), (self.second, chance >= self.share)):
            index = rows.nonzero()[:, 0]
            mine = Canvas(*(x[index] for x in _columns(canvas))) if len(index) else None
            parts.append((index, None if mine is None else program.prepare(mine, draws, traits)))
        return SplitJob(canvas, parts[0], parts[1])

    def run(self, models: Models, job: SplitJob, counts: Mapping[str, Tensor]) -> Loss:
        shape, device = job.canvas.tokens.shape, job.canvas.tokens.device
        total = torch.zeros((), device=device)
        each = torch.full(shape, float("nan"), device=device)
        time = torch.zeros(shape, device=device)
        parts: dict[str, Tensor] = {}
        for i, (program, (rows, one)) in enumerate(zip((self.first, self.second), job.parts, strict=True)):
            if one is None:
                continue
            found = program.run(models, one, {name: counts[f"{i}.{name}"] for name in one.counts})
            total = total + found.value
            parts |= {f"{i}.{name}": part for name, part in found.parts.items()}
            if found.each is not None and found.time is not None and len(found.each) == len(rows):
                each[rows], time[rows] = found.each, found.time
        return Loss(total, parts, each, time)


@dataclass(frozen=True)
class SplitJob:
    canvas: Canvas
    first: tuple[Tensor, Any]
    second: tuple[Tensor, Any]

    @property
    def parts(self) -> tuple[tuple[Tensor, Any], tuple[Tensor, Any]]:
        return self.first, self.second

    @property
    def counts(self) -> dict[str, Tensor]:
        jobs = enumerate(job for _, job in self.parts)
        return {f"{i}.{n}": c for i, job in jobs if job is not None for n, c in job.counts.items()}


def _columns(canvas: Canvas) -> tuple[Tensor, ...]:
    return canvas.tokens, canvas.valid, canvas.answer, canvas.suffix, canvas.sample, canvas.place


def once(program: Program, models: Models, canvas: Canvas, draws: Draws, traits: Traits) -> Loss:
    """One batch by itself: its own counts."""
    job = program.prepare(canvas, draws, traits)
    counts: dict[str, Tensor] = job.counts
    return program.run(models, job, counts)


@dataclass(frozen=True)
class TimedJob:
    """A canvas with its times (B, T), of programs that noise in the forward because the noise is learned."""

    canvas: Canvas
    draws: Draws
    traits: Traits
    time: Tensor
    count: Tensor

    @property
    def counts(self) -> dict[str, Tensor]:
        return {"loss": self.count}
