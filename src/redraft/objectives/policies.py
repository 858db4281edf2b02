"""More mask policies: exact counts, position-dependent masks, spans, soft tails; and pairs of complementary masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..core.draws import Draws
from ..core.traits import Traits
from .canvas import Canvas, Noised

if TYPE_CHECKING:
    from .objective import Objective


def groups(canvas: Canvas, block: int) -> Tensor:
    """(B, T) int64: a number for each document of a row (block 0), or for every `block` places of it."""
    if not block:
        return canvas.document
    return canvas.document * (int(canvas.place.max()) // block + 1) + canvas.place // block


def total(value: Tensor, group: Tensor) -> Tensor:
    """(B, T): each column gets the sum of `value` (B, T) over its group."""
    sums = value.new_zeros(len(value), int(group.max()) + 1)
    return sums.scatter_add(1, group, value).gather(1, group)


def standing(score: Tensor, among: Tensor, group: Tensor) -> Tensor:
    """(B, T) int64: 0 for the column of `among` with the smallest score in its group, then 1, 2, ...; the others follow."""
    order = score.masked_fill(~among, float("inf")).argsort(dim=1, stable=True)
    order = order.gather(1, group.gather(1, order).argsort(dim=1, stable=True))
    column = torch.arange(score.shape[1], device=score.device).expand_as(order)
    place = torch.empty_like(order).scatter(1, order, column)
    first = torch.full((len(order), int(group.max()) + 1), score.shape[1], dtype=torch.int64, device=score.device)
    return place - first.scatter_reduce(1, group, place, "amin").gather(1, group)


@dataclass(frozen=True)
class ExactCount:
    """As many columns as the rate says, not one more: round(rate x n) of a document's n answer columns, or of those in
    each of its blocks, all choices equally likely. The rate must be one for all of them.

    least   at least so many where there are so many
    """

    block: int = 0
    least: int = 0

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        group = groups(canvas, self.block)
        num = total(canvas.answer.float(), group)
        wanted = (rate * num).round().clamp_min(self.least)
        return (standing(draws.column(canvas, "mask"), canvas.answer, group) < wanted) & canvas.answer


def lateness(canvas: Canvas, rate: Tensor, block: int, half_life: float) -> Tensor:
    """(B, T) log w = ln 2 / (half_life x size) x (1 - rate) x index: later places weigh more, the more so the fewer are
    masked. index and size: in the block of `block` places, or among a document's answer columns (block 0)."""
    if block:
        index, size = canvas.place % block, torch.full_like(canvas.place, block)
    else:
        index = standing(canvas.place.float(), canvas.answer, canvas.document)
        size = canvas.total(canvas.answer.long()).clamp_min(1)
    return math.log(2.0) / (half_life * size) * (1.0 - rate) * index


@dataclass(frozen=True)
class Later:
    """Position-dependent masking, as probabilities (Efficient-DLM, arXiv:2512.14067): a column's rate is proportional to
    w_i of `lateness`, at most 1, and scaled so that the mean over its block (or document) stays the drawn rate."""

    block: int = 0
    half_life: float = 0.25

    def rates(self, canvas: Canvas, rate: Tensor) -> Tensor:
        """(B, T) the columns' own probabilities, 0 outside the answer."""
        group = groups(canvas, self.block)
        open_ = canvas.answer
        weight = lateness(canvas, rate, self.block, self.half_life).exp()
        full = torch.zeros_like(open_)
        while True:  # rates that would pass 1 become 1, the rest is shared again
            free = open_ & ~full
            left = rate * total(open_.float(), group) - total(full.float(), group)
            own = left / total(weight * free, group).clamp_min(1e-9) * weight
            more = full | (free & (own >= 1.0))
            if torch.equal(more, full):
                return torch.where(full, 1.0, own.clamp(0.0, 1.0)) * open_
            full = more

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        return (draws.column(canvas, "mask") < self.rates(canvas, rate)) & canvas.answer


@dataclass(frozen=True)
class LaterCount:
    """Position-dependent masking with an exact count (NeMo Automodel's form of Efficient-DLM): round(rate x n) columns
    drawn without replacement with weights w_i of `lateness`, by the largest log w_i + Gumbel noise."""

    block: int = 0
    half_life: float = 0.25

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        group = groups(canvas, self.block)
        gumbel = -(-draws.column(canvas, "mask").double().log()).log()
        score = lateness(canvas, rate, self.block, self.half_life) + gumbel
        wanted = (rate * total(canvas.answer.float(), group)).round()
        return (standing(-score, canvas.answer, group) < wanted) & canvas.answer


@dataclass(frozen=True)
class Span:
    """Runs of `size` places are hit together or not at all, from a random phase in each document; a column's
    probability is its rate (masked spans: SED, SpanBERT)."""

    size: int = 4

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        phase = (draws.document(canvas, "phase") * self.size).long()
        run = canvas.sample * (1 << 24) + (canvas.place + phase) // self.size
        return (draws.group(run, "span") < rate) & canvas.answer


@dataclass(frozen=True)
class SoftTail:
    """floor(rate x L) of a document's L answer columns, drawn from its last min(L, stretch x rate x L): the head stays
    clean, the tail is mixed (CARD, arXiv:2601.22031)."""

    stretch: float = 1.5

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        num = canvas.total(canvas.answer.float())
        index = standing(canvas.place.float(), canvas.answer, canvas.document)
        tail = canvas.answer & (index >= num - self.stretch * rate * num)
        wanted = (rate * num).floor()
        return (standing(draws.column(canvas, "mask"), tail, canvas.document) < wanted) & tail


@dataclass(frozen=True)
class Complementary:
    """Every canvas twice: with a mask, and with its complement in the answer, so that each answer column is learned once
    (Fast-dLLM v2, arXiv:2509.26328; LLaDA2.0, 2512.15745). The copies stand behind the originals; their rate is
    1 - rate and their time 1 - time."""

    def noise(self, objective: Objective, canvas: Canvas, draws: Draws, traits: Traits) -> tuple[Canvas, Noised]:
        first = objective.corrupt(canvas, draws, traits)
        hit = canvas.answer & ~first.hit
        time, rate = 1.0 - first.time, 1.0 - first.rate
        tokens = objective.noise.fill(canvas, canvas.tokens, hit, time, draws, traits)
        pairs = ((first.tokens, tokens), (first.hit, hit), (first.time, time), (first.rate, rate))
        return canvas.doubled(), Noised(*(torch.cat(pair) for pair in pairs))
