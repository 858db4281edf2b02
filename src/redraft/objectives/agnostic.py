"""Predictions that do not depend on how many masks stand behind the row (Masks Can Be Distracting, arXiv:2511.21338)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.draws import Draws
from ..core.traits import Traits
from ..noise.absorbing import mask_of
from ..ops.tiles import tiled
from .canvas import Canvas, Noised
from .layouts import Full
from .objective import Job, Loss, Models, Objective
from .readings import CrossEntropy
from .sink import extended
from .view import View


@dataclass(frozen=True)
class Appended:
    """Full attention over the noised canvas and, behind every document, 0 to `most` columns that show `token`."""

    token: int
    most: int
    name: str  # of the draw

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        view = Full().lay(canvas, noised, learn, draws)
        chance = draws.document(canvas, self.name)
        num = (chance * (self.most + 1)).long().clamp_max(self.most)
        length = canvas.total(canvas.valid.long())
        documents = torch.arange(int(canvas.document.max()) + 1, device=learn.device).repeat_interleave(self.most)
        document = documents.expand(len(learn), -1)
        index = torch.arange(self.most, device=learn.device).repeat(len(documents) // max(self.most, 1))
        # what holds of a document, from its first column; documents a row lacks are not there
        first = (canvas.document[:, None, :] == document[:, :, None]) & canvas.valid[:, None, :]
        at = first.long().argmax(2)
        there = first.any(2) & (index < num.gather(1, at))
        return extended(view, there, self.token, length.gather(1, at) + index, 0, 0, document)


@dataclass(frozen=True)
class MaskAgnostic:
    """The same noised row with two numbers of appended masks: both losses, and `share` times the mean total variation
    between the two predictions of a masked column.

    most  appended masks, at most; both numbers are uniform in 0 ... most
    """

    objective: Objective = Objective()
    share: float = 1.0
    most: int = 64

    def prepare(self, canvas: Canvas, draws: Draws, traits: Traits) -> Views:
        canvas, noised = self.objective.replicas.noise(self.objective, canvas, draws, traits)
        jobs = []
        for name in ("masks", "other masks"):
            layout = Appended(mask_of(traits), self.most, name)
            jobs.append(dataclasses.replace(self.objective, layout=layout).job(canvas, noised, draws, traits))
        return Views(*jobs)

    def run(self, models: Models, job: Views, counts: Mapping[str, Tensor]) -> Loss:
        model, losses, seen = models["main"], [], []
        for i, one in enumerate((job.first, job.second)):
            hidden = self.objective.hidden(models, one)
            own = {name: counts[f"{i}.{name}"] for name in one.counts}
            losses.append(self.objective.losses(models, one, own, hidden))
            reading = one.readings[0]
            seen.append(hidden[reading.row, reading.at])
        width, term = seen[0].shape[1], self.objective.term
        answered = isinstance(term, CrossEntropy) and not term.subs  # the mask is among the answers
        unlikely = [] if answered else [mask_of(job.first.traits)]

        def distance(part: Tensor, rows: slice) -> Tensor:
            gone = torch.tensor(unlikely, dtype=torch.int64, device=part.device)
            p, q = (
                model.head(half).float().index_fill(1, gone, float("-inf")).softmax(-1) for half in part.split(width, 1)
            )
            found: Tensor = 0.5 * (p - q).abs().sum(-1)
            return found

        both = torch.cat(seen, 1)
        params = [model.head_weight, *([] if model.head_bias is None else [model.head_bias])]
        ones = torch.ones(len(both), device=both.device)
        apart, _ = tiled(distance, both, ones, params, 2 * model.head_weight.shape[0])
        apart = apart / counts["apart"].clamp_min(1.0)
        parts = {name: losses[0].parts[name] + losses[1].parts[name] for name in losses[0].parts}
        value = losses[0].value + losses[1].value + self.share * apart
        return Loss(value, parts | {"apart": apart.detach()}, losses[0].each, losses[0].time)


@dataclass(frozen=True)
class Views:
    """Two jobs on one noised canvas; their readings go through the same columns in the same order."""

    first: Job
    second: Job

    @property
    def counts(self) -> dict[str, Tensor]:
        own = {
            f"{i}.{name}": count
            for i, job in enumerate((self.first, self.second))
            for name, count in job.counts.items()
        }
        row = self.first.readings[0].row
        return own | {"apart": torch.tensor(float(len(row)), device=row.device)}
