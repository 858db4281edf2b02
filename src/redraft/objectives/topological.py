"""Eso-LM's orders (arXiv:2506.01928): known tokens come first, then the masked ones, and who sees whom follows the place
in that order. No token moves: ranks hold the order, positions stay."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..core.draws import Draws
from ..core.types import NEVER
from .canvas import Canvas, Noised
from .layouts import single, two_streams
from .policies import standing
from .view import HIDDEN, View

Shuffled = Literal["all", "known", "none"]


def order(canvas: Canvas, hit: Tensor, shuffled: Shuffled, draws: Draws) -> Tensor:
    """(B, T) int64, each column's place in its document's order: what was not hit, then what was.

    shuffled   which part is in random order; the rest goes from left to right. Draws named "order".
    """
    natural = canvas.place.double() / (int(canvas.place.max()) + 1)
    random = draws.column(canvas, "order").double() if shuffled != "none" else natural
    inside = torch.where(hit & (shuffled == "known"), natural, random)
    return standing(hit + inside, canvas.valid, canvas.document)


def drawn_order(canvas: Canvas, known: Tensor, draws: Draws) -> Tensor:
    """(B, T) int64: a random order whose places from `known` () or (B, T) on go from left to right: one of the orders in
    which Eso-LM could have written the document, `known` columns by diffusion and the others one by one."""
    random = standing(draws.column(canvas, "order").double(), canvas.valid, canvas.document)
    late = random >= known
    width = int(canvas.place.max()) + 1
    return standing(torch.where(late, width + canvas.place, random).double(), canvas.valid, canvas.document)


def importance_weighted(log_p: Tensor) -> Tensor:
    """(B,) -log mean over K orders of a document's probability, from log-probabilities of its tokens (K, B, T): an upper
    bound of its negative log-likelihood, tighter than the mean over orders."""
    return math.log(len(log_p)) - log_p.sum(-1).logsumexp(0)


@dataclass(frozen=True)
class Topological:
    """One stream: the noised canvas in the order of `order`.

    sight      "causal" all see themselves and what comes before (variant B, whose keys and values can be kept)
               "prefix" known columns see all known ones, hit ones what comes before (variant A)
               "mixed"  known columns see what comes before, hit ones see everything
    """

    sight: Literal["causal", "prefix", "mixed"] = "causal"
    shuffled: Shuffled = "all"

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        return self.ordered(canvas, noised, learn, order(canvas, noised.hit, self.shuffled, draws))

    def ordered(self, canvas: Canvas, noised: Noised, learn: Tensor, place: Tensor) -> View:
        """The view of a given order (B, T)."""
        view = single(canvas, noised, learn, place)
        known = canvas.total((canvas.valid & ~noised.hit).long())
        reach = place
        if self.sight == "prefix":
            reach = torch.where(noised.hit, place, known - 1)
        if self.sight == "mixed":
            reach = torch.where(noised.hit, canvas.total(canvas.valid.long()), place)
        return replace(view, reach=torch.where(canvas.valid, reach, HIDDEN))


@dataclass(frozen=True)
class TopologicalPair:
    """Two streams in that order: a noised column sees itself and the clean columns before it; every masked token is
    predicted from all tokens before it in one forward.

    prefix     clean copies of known columns see one another (variant A); else the clean stream is causal (B)
    """

    prefix: bool = False
    shuffled: Shuffled = "known"

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        return self.ordered(canvas, noised, learn, order(canvas, noised.hit, self.shuffled, draws))

    def ordered(self, canvas: Canvas, noised: Noised, learn: Tensor, place: Tensor) -> View:
        """The view of a given order (B, T)."""
        rank = torch.where(canvas.valid, place, NEVER)
        clique = torch.where(canvas.valid, place, -1)
        view = two_streams(canvas, noised, learn, rank, place - 1, clique, torch.zeros_like(place))
        if not self.prefix:
            return view
        known = canvas.total((canvas.valid & ~noised.hit).long())
        width = canvas.tokens.shape[1]
        clean = torch.where(canvas.valid & ~noised.hit, known - 1, view.reach[:, width:])
        return replace(view, reach=torch.cat((view.reach[:, :width], clean), 1))
