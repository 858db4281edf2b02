"""Recorded draws and recorded outputs, given to our own parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ...core.draws import Places
from ...core.errors import BadInput
from ...core.traits import Traits
from ...models.backbone import dense
from ...objectives import Canvas, Layout, Noised, Objective, View
from ...objectives.objective import read
from ..conform import Mismatch
from ..conform_train import TrainCase


@dataclass(frozen=True)
class RecordedDraws:
    """Draws that were recorded, by the name a part asks for.

    A document's number is (B,), or (B, T) where rows are packed; a block's (B, blocks), a column's (B, T) or (B, T, size).
    """

    numbers: Mapping[str, Tensor] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def named(self, name: str) -> Tensor:
        if name not in self.numbers:
            raise BadInput(f"expected a recorded draw {name!r}, found none; give it to RecordedDraws.")
        self.used.add(name)
        return self.numbers[name]

    def end(self) -> None:
        """Mismatch where a number was recorded that our parts did not ask for."""
        unused = sorted(set(self.numbers) - self.used)
        if unused:
            raise Mismatch(f"the recorded draws of {', '.join(unused)} are used by nothing")

    def document(self, canvas: Places, name: str) -> Tensor:
        found = self.named(name)
        return found if found.shape == canvas.place.shape else found.reshape(-1, 1).expand_as(canvas.place)

    def block(self, canvas: Places, name: str, block: int) -> Tensor:
        return self.named(name).gather(1, canvas.place // block)

    def column(self, canvas: Places, name: str, size: int = 0) -> Tensor:
        return self.named(name)

    def group(self, numbers: Tensor, name: str) -> Tensor:
        return self.named(name).reshape(numbers.shape)


def rows(tokens: Tensor, answer: Tensor | None = None, valid: Tensor | None = None) -> Canvas:
    """A canvas of one document a row; without `answer` and `valid` every column is both."""
    every = torch.ones_like(tokens, dtype=torch.bool)
    valid = every if valid is None else valid.bool()
    answer = valid if answer is None else answer.bool()
    return Canvas(tokens, valid, answer, torch.zeros_like(every), torch.arange(len(tokens)))


def limited(noised: Noised, canvas: Canvas) -> Noised:
    """Without what was noised outside of the answers."""
    return replace(
        noised, tokens=torch.where(canvas.answer, noised.tokens, canvas.tokens), hit=noised.hit & canvas.answer
    )


def flags(value: Tensor) -> Tensor:
    """bool, of numbers that are 0 or 1."""
    if not bool(((value == 0) | (value == 1)).all()):
        raise BadInput("expected a recorded mask of zeros and ones, found other numbers.")
    return value == 1


def clean_or_mask(name: str, seen: Tensor, clean: Tensor, mask: int) -> None:
    """Mismatch where a token noised to the mask or not at all is something else."""
    wrong = ((seen != clean) & (seen != mask)).nonzero()
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise Mismatch(f"{name}{list(at)}: expected {int(clean[at])} or the mask {mask}, found {int(seen[at])}")


def whole(case: TrainCase, name: str) -> int:
    """A parameter that is a whole number from 1."""
    value = case.params.take(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Mismatch(f"{name}: expected a whole number from 1, found {value!r}")
    return value


def as_uniform(numbers: Tensor, size: int) -> Tensor:
    """Uniform numbers from which a part makes these whole numbers in 0 ... size - 1."""
    return (numbers + 0.5) / size


def traits(mask: int, vocab: int) -> Traits:
    return Traits(mask=mask, eos=(), vocab=vocab)


@dataclass
class Head:
    """Stands where a network's head does: its hidden states are the recorded logits."""

    head_weight: Tensor
    head_bias: None = None

    def head(self, hidden: Tensor) -> Tensor:
        return hidden


@dataclass(frozen=True)
class Found:
    """each, weighted (B, T): an objective's losses, bare and weighted, 0 where nothing is learned; loss (); learned (B, T)."""

    each: Tensor
    weighted: Tensor
    loss: Tensor
    learned: Tensor


def losses(objective: Objective, canvas: Canvas, noised: Noised, logits: Tensor, about: Traits) -> Found:
    """An objective's losses where the network answers with `logits` (B, T, V), by the canvas column they belong to, or
    (B, 2T, V): the noised columns, then the clean ones."""
    job = objective.job(canvas, noised, RecordedDraws(), about)
    batch, width = canvas.tokens.shape
    row = torch.arange(batch)[:, None]
    column = job.view.source + (job.view.stream * width if logits.shape[1] == 2 * width else 0)
    hidden = logits[row, column]
    each, weighted = torch.zeros(batch, width), torch.zeros(batch, width)
    learned = torch.zeros(batch, width, dtype=torch.bool)
    models = {"main": Head(torch.empty(logits.shape[-1], 0))}
    found = objective.losses(models, job, job.counts, hidden)
    for reading in job.readings:
        at = (reading.row, reading.column)
        _, values = read(models["main"], hidden, reading)
        each.index_put_(at, values, accumulate=True)
        weighted.index_put_(at, values * reading.weight, accumulate=True)
        learned[at] = True
    return Found(each, weighted, found.value, learned)


def plain(tokens: Tensor) -> Noised:
    """Tokens as they are, none of them learned."""
    nought = torch.zeros(tokens.shape)
    return Noised(tokens, torch.zeros_like(tokens, dtype=torch.bool), nought, nought)


def view(layout: Layout, canvas: Canvas, noised: Noised | None = None) -> View:
    """A layout's columns where nothing is learned."""
    noised = plain(canvas.tokens) if noised is None else noised
    return layout.lay(canvas, noised, noised.hit, RecordedDraws())


def answer(model: Any, of: View, sigma: float | None = None) -> Tensor:
    """The network's logits (B, W, V) on a view's columns, told the noise level `sigma` where it can be."""
    network = model.backbone
    more = {} if sigma is None else {"sigma": torch.full((of.tokens.numel(),), sigma)}
    attend = dense(of.mask(), len(of.tokens))
    hidden = network(network.embed(of.tokens.flatten()), of.pos.flatten(), attend, **more)
    logits: Tensor = network.head(hidden).float().unflatten(0, of.tokens.shape)
    return logits
