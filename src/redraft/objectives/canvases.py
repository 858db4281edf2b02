"""DiffusionGemma's training: text goes through the causal encoder, canvases of noise that follow it through the decoder of
the same weights, in one pass; half the time the decoder is told what it predicted before (self-conditioning).

Sources: transformers' `diffusion_gemma`, google/diffusiongemma-26B-A4B-it; analog bits for self-conditioning (2208.04202).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.draws import Draws
from ..core.errors import BadInput
from ..core.traits import Traits
from .canvas import Canvas, Noised
from .layouts import two_streams
from .objective import Job, Loss, Models, Objective
from .view import NOISED, View


@dataclass(frozen=True)
class Canvases:
    """The answer in canvases of `block` places, counted from its first one: a canvas sees itself and the clean text before
    it, the clean stream is causal. Text that is no answer has no noised column."""

    block: int = 256

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        first = -canvas.largest(-torch.where(canvas.answer, canvas.place, 1 << 30))
        index = (canvas.place - first).div(self.block, rounding_mode="floor")
        # reach is the last place before the canvas: the clean stream ranks by place
        below, clique = first + index * self.block - 1, torch.where(canvas.answer, index, -1)
        view = two_streams(canvas, noised, learn, canvas.place, below, clique, torch.zeros_like(index))
        none = (view.stream == NOISED) & ~canvas.answer.gather(1, view.source)
        return View(**{**vars(view), "document": torch.where(none, -1, view.document)})


class Decoder:
    """The backbone's interface over a network that is told which columns are canvas and what they were predicted to be.

    soft  (M, D) expected embeddings of the M noised columns of the view, None for none
    """

    def __init__(self, model: Any, view: View, soft: Tensor | None) -> None:
        if not hasattr(model, "windows"):
            raise BadInput(
                "self-conditioning needs a network that takes its last prediction as an input (DiffusionGemma), found "
                f"{type(model).__name__}; start from such a checkpoint or from the recipe's own shape."
            )
        self.model, self.view, self.soft = model, view, soft
        self.canvas = (view.stream == NOISED).flatten()

    def embed(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.model.embed(tokens, self.canvas, self.soft)
        return x

    def __call__(self, x: Tensor, pos: Tensor, attend: Any) -> Tensor:
        model, view, rows = self.model, self.view, len(self.view.tokens)
        seen, masks = view.mask(), {}
        for window in set(model.windows):
            near = torch.ones_like(seen)
            if window is not None:
                # text counts itself, a canvas one fewer and from its first column: its reach is the column before
                last = torch.where(view.stream == NOISED, view.reach + 1, view.pos)
                near = last[:, :, None] - view.pos[:, None, :] < window
                near = near | (view.stream == NOISED)[:, None, :]
            masks[window] = (seen & near)[:, None]

        def look(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (one.unflatten(0, (rows, -1)).transpose(1, 2) for one in (q, k, v))
            mask, shared = masks[model.windows[layer]], q.shape[1] != k.shape[1]
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=model.scale, enable_gqa=shared)
            return out.transpose(1, 2).flatten(0, 1)

        hidden: Tensor = model(x, pos, look, self.canvas)
        return hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


@dataclass(frozen=True)
class ConditionedJob:
    """told (B, W) bool, columns that are conditioned on a first prediction."""

    job: Job
    told: Tensor

    @property
    def counts(self) -> dict[str, Tensor]:
        return self.job.counts


@dataclass(frozen=True)
class SelfConditioned:
    """In a share `chance` of the documents the decoder runs twice: first told nothing and without gradient, then told the
    embeddings it expected."""

    objective: Objective = Objective(layout=Canvases())
    chance: float = 0.5

    def prepare(self, canvas: Canvas, draws: Draws, traits: Traits) -> ConditionedJob:
        job = self.objective.prepare(canvas, draws, traits)
        told = (draws.document(job.canvas, "self_condition") < self.chance).gather(1, job.view.source)
        return ConditionedJob(job, told & (job.view.stream == NOISED) & (job.view.document >= 0))

    def run(self, models: Models, job: ConditionedJob, counts: Mapping[str, Tensor]) -> Loss:
        inner, model = job.job, models["main"]
        soft = self.predicted(models, job) if bool(job.told.any()) else None
        hidden = self.objective.hidden({**models, "main": Decoder(model, inner.view, soft)}, inner)
        return self.objective.losses(models, inner, counts, hidden)

    @torch.no_grad()
    def predicted(self, models: Models, job: ConditionedJob) -> Tensor:
        """(M, D) expected embeddings of the view's noised columns, zeros where they are not told."""
        inner, model = job.job, models["main"]
        hidden = self.objective.hidden({**models, "main": Decoder(model, inner.view, None)}, inner)
        soft = torch.zeros_like(hidden)
        for row, column in zip(*(x.split(256) for x in job.told.nonzero(as_tuple=True)), strict=True):
            soft[row, column] = model.soften(model.head(hidden[row, column]).float().softmax(-1)).to(soft.dtype)
        return soft[inner.view.stream == NOISED]
