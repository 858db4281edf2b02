"""A sink token: one more column that sees only itself and that everyone sees (One Token Is Enough, arXiv:2601.19657).

Diffusion models park spare attention on some token, another one at every step; a column made for it steadies them. Its
place and its content do not matter, so it stands behind the row, at position 0, and shows the end token unless told else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.draws import Draws
from ..core.errors import BadInput
from ..core.traits import Traits
from .canvas import Canvas, Noised
from .layouts import Full, Layout
from .objective import Job, Loss, Models, Objective
from .view import HIDDEN, View

EXTRA = 2  # a stream of columns that show nothing of the canvas


@dataclass(frozen=True)
class Sink:
    """Another layout and one sink for each document of a row."""

    inner: Layout = Full()
    token: int = 0

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        view = self.inner.lay(canvas, noised, learn, draws)
        number = torch.arange(int(canvas.document.max()) + 1, device=learn.device).expand(len(learn), -1)
        there = number <= view.document.amax(1, keepdim=True)
        # its reach is below every rank, itself included, and its rank above no reach but that of absent columns
        return extended(view, there, self.token, number.new_zeros(number.shape), HIDDEN + 1, HIDDEN, number)


def extended(view: View, there: Tensor, token: int, pos: Tensor, rank: int, reach: int, document: Tensor) -> View:
    """A view and more columns behind it that are no targets; there, pos, document (B, N); absent ones see nobody."""
    none = torch.full_like(pos, -1)
    more = {
        "tokens": torch.full_like(pos, token),
        "pos": pos,
        "source": torch.zeros_like(pos),
        "learn": torch.zeros_like(there),
        "before": none,
        "stream": torch.full_like(pos, EXTRA),
        "rank": torch.full_like(pos, rank),
        "reach": torch.full_like(pos, reach),
        "clique": none,
        "turn": torch.zeros_like(pos),
        "document": torch.where(there, document, -1),
        "time": view.time.new_zeros(pos.shape),
    }
    wide = {name: torch.cat((getattr(view, name), value), 1) for name, value in more.items()}
    width = pos.shape[1]
    opened = None if view.opened is None else F.pad(view.opened, (0, width, 0, width))
    return View(**wide, opened=opened)


@dataclass(frozen=True)
class SinkToken:
    """An objective with a sink in its layout. token: the id it shows, None for the end token."""

    objective: Objective = Objective()
    token: int | None = None

    def prepare(self, canvas: Canvas, draws: Draws, traits: Traits) -> Job:
        if self.token is None and not traits.eos:
            raise BadInput(
                "a sink token shows the model's end token, found a model without one; set SinkToken(token=...)."
            )
        token = traits.eos[0] if self.token is None else self.token
        layout = Sink(self.objective.layout, token)
        return dataclasses.replace(self.objective, layout=layout).prepare(canvas, draws, traits)

    def run(self, models: Models, job: Job, counts: Mapping[str, Tensor]) -> Loss:
        return self.objective.run(models, job, counts)
