"""The training row: noise, times, where to mask, layout, weight and normaliser in one frozen value; a loss is its one
verb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.noise import keyed_uniform
from ..models.backbone import Attend, Backbone, dense
from ..noise.absorbing import Absorbing
from .layouts import Canvas, Layout, View
from .masking import Masking, Times

CHANCE, TIME, PLACE = range(3)  # draws of one sample


def in_float32(attend: Attend) -> Attend:
    """The same attention with float32 inside: on CPU the backward of bfloat16 attention is three times slower."""

    def wide(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(layer, q.float(), k.float(), v.float()).to(v.dtype)

    return wide


@dataclass(frozen=True)
class Noised:
    """A canvas after the noise: tokens, which columns were hit and at which rate; all (B, T)."""

    tokens: Tensor
    hit: Tensor
    rate: Tensor


@dataclass(frozen=True)
class Objective:
    """One way to train.

    weight      "flat": every masked token counts the same; "bound": by -alpha'/(1-alpha), the likelihood bound (1/t)
    normaliser  what the weighted sum of losses is divided by: "masked" tokens, "answer" tokens, or "rows" (each row's
                mean over its own masked tokens, then the mean over rows)
    """

    noise: Absorbing
    times: Times
    masking: Masking
    layout: Layout
    weight: Literal["flat", "bound"] = "flat"
    normaliser: Literal["masked", "answer", "rows"] = "rows"

    def corrupt(self, canvas: Canvas, seed: int, draw: int = 0) -> Noised:
        """Noise keyed by (seed, sample, draw, column); at least one answer column of every row is hit."""
        columns = torch.arange(canvas.tokens.shape[1], device=canvas.tokens.device)
        sample = canvas.sample[:, None]
        chance = keyed_uniform(seed, sample, draw, CHANCE, columns).float()
        time = self.times.draw(canvas, keyed_uniform(seed, draw, TIME).float(), draw)
        rate = self.masking.rates(canvas, time, keyed_uniform(seed, sample, draw, PLACE, columns[:3]).float())
        tokens, hit = self.noise.corrupt(canvas.tokens, rate, chance, canvas.answer)
        first = torch.where(canvas.answer & (rate > 0), chance, 2.0).argmin(1, keepdim=True)
        missed = ~hit.any(1, keepdim=True) & canvas.answer.any(1, keepdim=True)
        forced = torch.zeros_like(hit).scatter(1, first, True) & missed
        return Noised(torch.where(forced, self.noise.mask, tokens), hit | forced, rate)

    def view(self, canvas: Canvas, noised: Noised) -> View:
        """The forward's columns, without those that no learned column needs."""
        return self.layout.lay(canvas, noised.tokens, noised.hit).trimmed()

    def loss(self, model: Backbone, canvas: Canvas, seed: int, draw: int = 0) -> tuple[Tensor, Tensor]:
        """The scalar to minimise, and each row's mean loss over its masked tokens (B,), detached."""
        noised = self.corrupt(canvas, seed, draw)
        view = self.view(canvas, noised)
        attend = in_float32(dense(view.mask(), len(view.tokens)))
        hidden = model(model.embed(view.tokens.flatten()), view.pos.flatten(), attend)
        row, column = view.learn.nonzero(as_tuple=True)
        source = view.source[row, column]
        logits = model.head(hidden[view.learn.flatten()]).float()
        logits[:, self.noise.mask] = float("-inf")
        each = F.cross_entropy(logits, canvas.tokens[row, source], reduction="none")
        count = view.learn.sum(1)
        mean = torch.zeros(len(count), device=each.device).index_add(0, row, each) / count.clamp_min(1)
        weighted = each * self.noise.weight(noised.rate[row, source]) if self.weight == "bound" else each
        if self.normaliser == "rows":
            share = (weighted / count[row]).sum() / len(count)
        else:
            share = weighted.sum() / (count.sum() if self.normaliser == "masked" else canvas.answer.sum())
        return share, mean.detach()
