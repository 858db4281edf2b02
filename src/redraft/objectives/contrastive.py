"""A push away from the uniform distribution where uniform noise is undone (SDDLM-V1, arXiv:2510.22926)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.traits import Traits
from .canvas import Canvas, Noised
from .objective import Objective, Reading
from .readings import Targets
from .view import View


@dataclass(frozen=True)
class AgainstUniform:
    """The mean over the vocabulary (without the mask) of log(p(v) + eps): the expected log-probability of a random
    negative, exactly, where the paper draws one. eps bounds what can be gained by driving it down."""

    eps: float = 1e-6

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        mask = targets.traits.mask
        p = logits[:, : targets.traits.vocab]
        if mask is not None:
            p = torch.cat((p[:, :mask], p[:, mask + 1 :]), 1)
        return (p.softmax(-1) + self.eps).log().mean(-1)


@dataclass(frozen=True)
class Contrastive:
    """share times the mean of `AgainstUniform` over the targets of the main loss. Sensitive: the loss has no other
    bound than eps gives it."""

    share: float = 1.0
    eps: float = 1e-6

    def reading(self, objective: Objective, canvas: Canvas, noised: Noised, view: View, traits: Traits) -> Reading:
        ones = noised.time.new_ones(noised.time.shape)
        return objective.reading(
            "contrast",
            canvas,
            noised,
            view,
            view.learn,
            objective.target,
            AgainstUniform(self.eps),
            ones,
            traits,
            self.share,
        )
