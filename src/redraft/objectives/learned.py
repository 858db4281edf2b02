"""GenMD4 (arXiv:2406.04329, section 7): every token of the vocabulary has its own masking schedule, learned with the model.

    alpha_v(t) = 1 - (1 - eps) t^(w_v),  w = softplus(raw)
    loss(z) = sum over masked columns of (w_x (CE - 1) + sum_v w_v p(v)) / t

w also decides what is masked: two noisings z1, z2 give the leave-one-out estimate of that part of the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.draws import Draws
from ..core.traits import Traits
from ..noise.absorbing import Absorbing, mask_of
from ..ops.tiles import tiled
from .canvas import Canvas, Noised
from .layouts import Full, Layout
from .objective import Job, Loss, Models, Objective
from .programs import TimedJob
from .readings import PerDocument
from .times import LowDiscrepancy, Times


class TokenPowers(nn.Module):
    """w (V,), one exponent a token, all 1 at the start (MD4)."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full((vocab,), math.log(math.e - 1.0)))

    def forward(self) -> Tensor:
        return F.softplus(self.raw)


def masked(t: Tensor, w: Tensor, eps: float) -> Tensor:
    """1 - alpha(t), of exponents w; shapes broadcast."""
    return (1.0 - eps) * t**w


def density(logits: Tensor, clean: Tensor, t: Tensor, w: Tensor) -> Tensor:
    """(n,) a masked column's loss from logits (n, V), the mask's among them -inf; clean, t (n,); w (V,)."""
    log_p = logits.log_softmax(-1)
    own = log_p.gather(1, clean[:, None])[:, 0]
    return (w[clean] * (-own - 1.0) + (log_p.exp() * w).sum(-1)) / t


def log_mask_probability(rate: Tensor, hit: Tensor) -> Tensor:
    """log q of each column's mask, from its rate; all (B, T)."""
    return torch.where(hit, rate.log(), torch.log1p(-rate))


def leave_one_out(loss: tuple[Tensor, Tensor], log_q: tuple[Tensor, Tensor]) -> Tensor:
    """0.5 sg(l1 - l2) (log q1 - log q2): its gradient is an unbiased estimate of that of E[l] through the noising."""
    return 0.5 * (loss[0] - loss[1]).detach() * (log_q[0] - log_q[1])


def first_step(clean: Tensor, w: Tensor, t: float, eps: float) -> Tensor:
    """(...) the expected loss of the tokens that are still masked at the first time t, where the model is the posterior
    under an even prior: (1 - alpha_x) log(sum_v (1 - alpha_v) / (1 - alpha_x))."""
    every = masked(torch.tensor(t, device=w.device), w, eps)
    own = every[clean].clamp_min(1e-30)
    return own * (every.sum() / own).log()


@dataclass(frozen=True)
class LearnedSchedule:
    """The program; "noise" is the role of the exponents. A document's losses are summed, documents averaged.

    eps     nothing is masked surely even at t = 1      first   the earliest time, where the closed form takes over
    """

    times: Times = LowDiscrepancy()
    layout: Layout = Full()
    eps: float = 1e-4
    first: float = 1e-3
    conditioned: bool = False

    def networks(self, traits: Traits, model_config: Any) -> dict[str, nn.Module]:
        """The exponents, to be trained with the model."""
        return {"noise": TokenPowers(traits.vocab)}

    @property
    def objective(self) -> Objective:
        return Objective(
            Absorbing(), self.times, layout=self.layout, normaliser=PerDocument(None), conditioned=self.conditioned
        )

    def prepare(self, canvas: Canvas, draws: Draws, traits: Traits) -> TimedJob:
        return TimedJob(canvas, draws, traits, self.times.draw(canvas, draws), canvas.num_documents.float())

    def run(self, models: Models, job: TimedJob, counts: Mapping[str, Tensor]) -> Loss:
        canvas, w = job.canvas, models["noise"]()
        w = w.index_fill(0, torch.tensor([mask_of(job.traits)], device=w.device), 0.0)  # is never clean
        rate = masked(job.time, w[canvas.tokens], self.eps)
        values, losses, log_q, each = [], [], [], None
        for name in ("mask", "second mask"):
            hit = (job.draws.column(canvas, name) < rate) & canvas.answer
            tokens = torch.where(hit, mask_of(job.traits), canvas.tokens)
            made = self.objective.job(canvas, Noised(tokens, hit, job.time, rate.detach()), job.draws, job.traits)
            value, found = self._read(models, made, w)
            values.append(value)
            losses.append(canvas.total(found.nan_to_num(0.0)))
            log_q.append(torch.where(canvas.answer, log_mask_probability(rate, hit), 0.0))
            each = found if each is None else each
        bound = (values[0] + values[1]) / 2
        estimate = leave_one_out((losses[0], losses[1]), (log_q[0], log_q[1])).sum()
        start = torch.where(
            canvas.answer, first_step(canvas.tokens, self._even(w, job.traits), self.first, self.eps), 0.0
        )
        count = counts["loss"].clamp_min(1.0)
        parts = {"loss": bound.detach() / count, "first_step": start.sum().detach() / count}
        return Loss((bound + estimate - estimate.detach() + start.sum()) / count, parts, each, job.time)

    def _even(self, w: Tensor, traits: Traits) -> Tensor:
        """w with an exponent at the mask under which it has no share in the prior."""
        return w.index_fill(0, torch.tensor([mask_of(traits)], device=w.device), float("inf"))

    def _read(self, models: Models, job: Job, w: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the losses, differentiable in the model and in w, and each of them (B, T), NaN elsewhere."""
        model, hidden = models["main"], self.objective.hidden(models, job)
        reading = job.readings[0]
        targets = reading.targets
        assert targets is not None
        mask = torch.tensor([mask_of(job.traits)], device=w.device)

        def each(part: Tensor, rows: slice) -> Tensor:
            few = targets.take(rows)
            logits = model.head(part).float()[:, : len(w)].index_fill(1, mask, float("-inf"))
            return density(logits, few.clean, few.time, w)

        params = [model.head_weight, *([] if model.head_bias is None else [model.head_bias]), w]
        value, values = tiled(
            each, hidden[reading.row, reading.at], torch.ones_like(reading.weight), params, model.head_weight.shape[0]
        )
        found = torch.full(job.canvas.tokens.shape, float("nan"), device=hidden.device)
        return value, found.index_put((reading.row, reading.column), values)
