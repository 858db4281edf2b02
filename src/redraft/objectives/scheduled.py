"""Diffusion of Thought's training tricks in discrete form (arXiv:2402.07754): scheduled sampling, and a context whose
last thought may be noised too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.draws import Draws
from ..core.traits import Traits
from .canvas import Canvas, Noised
from .objective import Job, Loss, Models, Objective


@dataclass(frozen=True)
class Thoughts:
    """The source and the thoughts so far stay clean, the rest of the answer is hit at the drawn rate.

    whole    share of documents whose answer is noised from its start on (one pass); in the others it starts anywhere
    glance   probability that the last `tail` places before that start are noised at the same rate (coupled sampling):
             the model learns to mend the thought before
    """

    whole: float = 0.5
    glance: float = 0.1
    tail: int = 8

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        count = canvas.total(canvas.answer.long())
        opening = -canvas.largest(-torch.where(canvas.answer, canvas.place, 1 << 30))
        start = (draws.document(canvas, "start") * count).long()
        start = torch.where(draws.document(canvas, "whole") < self.whole, 0, start)
        start = start - self.tail * (draws.document(canvas, "glance") < self.glance)
        return (draws.column(canvas, "mask") < rate) & canvas.answer & (canvas.place >= opening + start)


@dataclass(frozen=True)
class ScheduledSampling:
    """In some documents what is visible at time t is what the model itself makes of them at a time later than t.

    own   the share of those documents; let it grow during the run
    The noised canvas at the later time holds every mask of the one at t and more. Where only the later one is masked, a
    token drawn from the model's prediction there (without gradient) stands in for the true one; the targets are still true.
    """

    objective: Objective = Objective()
    own: float = 0.05

    def prepare(self, canvas: Canvas, draws: Draws, traits: Traits) -> Sampled:
        objective = self.objective
        noised = objective.corrupt(canvas, draws, traits)
        time = noised.time + (1.0 - noised.time) * draws.document(canvas, "later")
        rate = objective.noise.rate(time)
        hit = objective.masking.hits(canvas, rate, draws) | noised.hit
        tokens = objective.noise.fill(canvas, canvas.tokens, hit, time, draws, traits)
        later = objective.job(canvas, Noised(tokens, hit, time, rate), draws, traits)
        guess = hit & ~noised.hit & (draws.document(canvas, "own") < self.own)
        return Sampled(objective.job(canvas, noised, draws, traits), later, guess, draws.column(canvas, "guess"))

    def run(self, models: Models, job: Sampled, counts: Mapping[str, Tensor]) -> Loss:
        now = job.now
        if bool(job.guess.any()):
            tokens = self.sampled(models, job)
            now = self.objective.job(now.canvas, replace(now.noised, tokens=tokens), now.draws, now.traits)
        return self.objective.run(models, now, counts)

    @torch.no_grad()
    def sampled(self, models: Models, job: Sampled) -> Tensor:
        """(B, T) the noised tokens with the model's own ones in their places."""
        model, reading = models["main"], job.later.readings[0]
        hidden = self.objective.hidden(models, job.later)
        pick = job.guess[reading.row, reading.column]
        row, at, column = reading.row[pick], reading.at[pick], reading.column[pick]
        found = []
        for part, chance in zip(hidden[row, at].split(1024), job.chance[row, column].split(1024), strict=True):
            logits = model.head(part).float()
            if job.now.traits.mask is not None:
                logits[:, job.now.traits.mask] = float("-inf")
            total = logits[:, : job.now.traits.vocab].double().softmax(-1).cumsum(-1)
            drawn = torch.searchsorted(total, chance[:, None].double() * total[:, -1:])
            found.append(drawn[:, 0].clamp_max(total.shape[1] - 1))
        return job.now.noised.tokens.index_put((row, column), torch.cat(found))


@dataclass(frozen=True)
class Sampled:
    """now, later: jobs at t and at the later time; guess (B, T) bool, columns that get drawn tokens; chance (B, T)."""

    now: Job
    later: Job
    guess: Tensor
    chance: Tensor

    @property
    def counts(self) -> dict[str, Tensor]:
        return self.now.counts
