"""SDLM's layout (arXiv:2509.24007): the clean canvas, causal, and behind it groups of masks at places inside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.draws import Draws
from ..core.types import NEVER
from .canvas import Canvas, Noised
from .layouts import columns, documents
from .policies import groups as numbered
from .policies import standing
from .view import CLEAN, HIDDEN, NOISED, View


@dataclass(frozen=True)
class Groups:
    """A group starts at a place a and holds the clean token there and `size` - 1 masks behind it; it sees the clean places
    before a, and itself. Column k of it predicts place a + 1 + k: outputs are one place behind their targets, so the
    objective's target is `Aligned` and the model that comes out is a shifted one. Noise: all masked (`Constant(1.0)`).

    repeat   how often an answer column is predicted, about: repeat * answers / size groups a document, at drawn places
    causal   a group's columns see those before them in the group, not those behind

    A group learns up to where the answer ends (SDLM stops at the end token). What of it lies behind, in the next turn's
    prompt, a known suffix or nowhere, is masks, as when decoding.
    """

    size: int
    repeat: int = 2
    causal: bool = False

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        return self.at(canvas, noised, learn, self.starts(canvas, draws))

    def starts(self, canvas: Canvas, draws: Draws) -> Tensor:
        """(B, G) int64 columns at which groups start, -1 for none."""
        open_ = canvas.answer & (canvas.place > 0)
        number = (self.repeat * canvas.total(open_.long()) // self.size).clamp_min(1)
        order = standing(draws.column(canvas, "group"), open_, numbered(canvas, 0))
        chosen = open_ & (order < number)
        width = max(int(chosen.sum(1).max()), 1)
        first = (~chosen).to(torch.int8).argsort(dim=1, stable=True)[:, :width]
        return torch.where(chosen.gather(1, first), first - 1, -1)

    def at(self, canvas: Canvas, noised: Noised, learn: Tensor, starts: Tensor) -> View:
        """The view with groups at these columns (B, G)."""
        batch, num = starts.shape
        step = torch.arange(self.size, device=starts.device)
        real = (starts >= 0)[:, :, None].expand(-1, -1, self.size).flatten(1)
        start = starts.clamp_min(0)[:, :, None].expand(-1, -1, self.size).flatten(1)
        step = step.expand(batch, num, -1).flatten(1)
        document, place, last = documents(canvas), canvas.place, canvas.tokens.shape[1] - 1
        own = torch.where(real, document.gather(1, start), -1)

        def inside(column: Tensor) -> Tensor:
            return real & (column <= last) & (document.gather(1, column.clamp_max(last)) == own)

        # places behind the answer's end hold what the last one inside it does: a mask
        shown, open_, kept = start, real, torch.zeros_like(real)
        for k in range(1, self.size + 1):
            open_ = open_ & inside(start + k) & canvas.answer.gather(1, (start + k).clamp_max(last))
            shown = torch.where((step >= k) & open_, start + k, shown)
            kept = kept | ((step == k - 1) & open_)
        target = (start + step + 1).clamp_max(last)
        masked = noised.tokens.gather(1, torch.maximum(shown, (start + 1).clamp_max(last)))
        tokens = torch.where(step == 0, canvas.tokens.gather(1, start), masked)
        column, none = columns(canvas), torch.full_like(place, -1)
        group = torch.arange(num, device=starts.device).repeat_interleave(self.size).expand(batch, -1)
        return View(
            tokens=torch.cat((canvas.tokens, tokens), 1),
            pos=torch.cat((place, place.gather(1, start) + step), 1),
            source=torch.cat((column, target), 1),
            learn=torch.cat((torch.zeros_like(learn), kept & learn.gather(1, target)), 1),
            before=torch.cat((none, torch.full_like(start, -1)), 1),
            stream=torch.cat((torch.full_like(place, CLEAN), torch.full_like(start, NOISED)), 1),
            rank=torch.cat((torch.where(canvas.valid, place, NEVER), torch.full_like(start, NEVER)), 1),
            reach=torch.cat((torch.where(canvas.valid, place, HIDDEN), place.gather(1, start) - 1), 1),
            clique=torch.cat((none, torch.where(real, group, -1)), 1),
            turn=torch.cat((torch.zeros_like(place), step if self.causal else torch.zeros_like(step)), 1),
            document=torch.cat((document, own), 1),
            time=torch.cat(
                (torch.zeros_like(noised.time), torch.where(step > 0, noised.time.gather(1, target), 0.0)), 1
            ),
        )
