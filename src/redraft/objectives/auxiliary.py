"""Auxiliary losses: further readings of the same forward."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.traits import Traits
from .canvas import Canvas, Noised
from .objective import Objective, Reading
from .readings import CrossEntropy, Shifted, Targets
from .view import CLEAN, NOISED, View


@dataclass(frozen=True)
class NextToken:
    """Autoregressive cross entropy on the clean stream, which must be causal (NBDiff, arXiv:2512.06776; I-DLM).

    balance  scaled, without gradient, to the main loss's value (I-DLM's automatic weight)
    """

    share: float = 1.0
    balance: bool = False

    def reading(self, objective: Objective, canvas: Canvas, noised: Noised, view: View, traits: Traits) -> Reading:
        learn = (view.stream == CLEAN) & canvas.answer.gather(1, view.source) & (view.document >= 0)
        ones = noised.time.new_ones(noised.time.shape)
        reading = objective.reading(
            "next_token", canvas, noised, view, learn, Shifted(), CrossEntropy(), ones, traits, self.share
        )
        return replace(reading, balance=self.balance)


@dataclass(frozen=True)
class RightEntropy:
    """Entropy of softmax(logits / temperature) where the arg max is the true token, 0 elsewhere. subs: the mask is no
    answer."""

    temperature: float = 1.0
    subs: bool = True

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        mask = targets.traits.mask
        if self.subs and mask is not None:
            logits = logits.index_fill(1, torch.tensor([mask], device=logits.device), float("-inf"))
        p = (logits / self.temperature).softmax(-1)
        entropy = -(p * (p + 1e-12).log()).sum(-1)
        return torch.where(logits.argmax(-1) == targets.clean, entropy, 0.0)


@dataclass(frozen=True)
class Certainty:
    """Mean entropy over the masked tokens already predicted right: the model becomes sure of what it knows, so that more
    can be committed at once (dParallel's certainty forcing, temperature 0.5; LLaDA2.0's CAP, arXiv:2512.15745)."""

    share: float = 1.0
    temperature: float = 1.0
    subs: bool = True

    def reading(self, objective: Objective, canvas: Canvas, noised: Noised, view: View, traits: Traits) -> Reading:
        learn = view.learn & (view.stream == NOISED) & noised.hit.gather(1, view.source)
        ones, term = noised.time.new_ones(noised.time.shape), RightEntropy(self.temperature, self.subs)
        reading = objective.reading(
            "certainty", canvas, noised, view, learn, objective.target, term, ones, traits, self.share
        )
        return replace(reading, found=True)
