"""A program that keeps hidden states near those of a frozen teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.draws import Draws
from ..core.traits import Traits
from ..models.backbone import dense
from .canvas import Canvas, Noised
from .layouts import Causal
from .objective import Job, Loss, Models, Objective, in_float32
from .view import NOISED


@dataclass(frozen=True)
class Resembling:
    """An objective, and share x the mean over the forward's noised columns of 1 - cos(own last hidden state, the frozen
    autoregressive teacher's on the clean tokens) (representation alignment, Open-dLLM). The teacher is the model of that
    role."""

    objective: Objective
    share: float = 10.0
    role: str = "teacher"

    def prepare(self, canvas: Canvas, draws: Draws, traits: Traits) -> ResemblingJob:
        job = self.objective.prepare(canvas, draws, traits)
        seen = (job.view.stream == NOISED) & (job.view.document >= 0)
        return ResemblingJob(job, seen, seen.sum().float())

    def run(self, models: Models, job: ResemblingJob, counts: Mapping[str, Tensor]) -> Loss:
        inner, own = job.job, {name: counts[name] for name in job.job.counts}
        hidden = self.objective.hidden(models, inner)
        found = self.objective.losses(models, inner, own, hidden)
        canvas = inner.canvas
        nothing = torch.zeros_like(canvas.answer)
        clean = Noised(canvas.tokens, nothing, torch.zeros_like(inner.noised.time), torch.zeros_like(inner.noised.rate))
        view = Causal().lay(canvas, clean, nothing, inner.draws)
        teacher = models[self.role]
        with torch.no_grad():
            attend = in_float32(dense(view.mask(), len(view.tokens)))
            target = teacher(teacher.embed(view.tokens.flatten()), view.pos.flatten(), attend)
        target = target.unflatten(0, view.tokens.shape)
        row, column = job.seen.nonzero(as_tuple=True)
        near = F.cosine_similarity(hidden[row, column].float(), target[row, inner.view.source[row, column]].float(), -1)
        value = self.share * (1.0 - near).sum() / counts["resembling"].clamp_min(1.0)
        return replace(found, value=found.value + value, parts=found.parts | {"resembling": value.detach()})


@dataclass(frozen=True)
class ResemblingJob:
    job: Job
    seen: Tensor  # (B, W) bool, noised columns
    count: Tensor  # () of them

    @property
    def counts(self) -> dict[str, Tensor]:
        return self.job.counts | {"resembling": self.count}
