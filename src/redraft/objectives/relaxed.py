"""Soft inputs: the network sees a mixture of embeddings where the loss has the hard token (Duo's curriculum,
arXiv:2506.10892)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.draws import Draws
from ..core.errors import BadInput
from ..core.traits import Traits
from ..noise.gaussian import Gaussian
from ..noise.process import fitted
from .canvas import Canvas, Noised

if TYPE_CHECKING:
    from .objective import Objective


@dataclass(frozen=True)
class Every:
    """Every answer column: for noise that moves all of them."""

    def hits(self, canvas: Canvas, rate: Tensor, draws: Draws) -> Tensor:
        return canvas.answer


@dataclass(frozen=True)
class Relaxed:
    """softmax(w / tau) of Gaussian noise w as input weights; tau = 10^log10_tau, which a curriculum lowers."""

    log10_tau: float = -1.0

    def noise(self, objective: Objective, canvas: Canvas, draws: Draws, traits: Traits) -> tuple[Canvas, Noised]:
        noised = objective.corrupt(canvas, draws, traits)
        noise = fitted(objective.noise, traits)
        if not isinstance(noise, Gaussian):
            raise BadInput(f"soft inputs are made of Gaussian noise, found {noise!r}; set the objective's noise to it.")
        w = noise.latent(canvas, canvas.tokens, noised.time, draws, traits)
        soft = self.weights(w)
        given = F.one_hot(canvas.tokens, traits.vocab).to(soft.dtype)
        return canvas, replace(noised, soft=torch.where(noised.hit[..., None], soft, given))

    def scaled(self, w: Tensor) -> Tensor:
        """w / tau."""
        return w * float(10.0**-self.log10_tau)

    def weights(self, w: Tensor) -> Tensor:
        return self.scaled(w).softmax(-1)
