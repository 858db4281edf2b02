"""Losses per target beside the plain cross entropy of `readings`, and the parameterisation they share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..noise.absorbing import mask_of
from .readings import Targets

NEVER = float("-inf")


def subs(logits: Tensor, seen: Tensor | None, mask: int) -> Tensor:
    """MDLM's SUBS (arXiv:2406.07524): the mask is no answer, and what is not masked stays as it is.

    logits (..., V), seen (...) int64 or None to carry nothing over -> log-probabilities (..., V), -inf for what cannot be.
    """
    log_p = logits.index_fill(-1, torch.tensor([mask], device=logits.device), NEVER).log_softmax(-1)
    if seen is None:
        return log_p
    same = torch.arange(logits.shape[-1], device=logits.device) == seen[..., None]
    kept = torch.where(same, 0.0, NEVER).to(log_p.dtype)
    return torch.where((seen == mask)[..., None], log_p, kept)


@dataclass(frozen=True)
class Posterior:
    """KL between the reverse steps of the clean token and of the model, in `steps` steps, times steps: D3PM with absorbing
    noise and alpha = 1 - t (arXiv:2107.03006, as MDLM's T > 0 has it). With subs it is cross entropy / t.

    subs    the mask is no answer; else the model pays for mass put on it
    """

    steps: int
    subs: bool = True

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        mask = mask_of(targets.traits)
        log_p = subs(logits, None, mask) if self.subs else logits.log_softmax(-1)
        own = log_p.gather(1, targets.clean[:, None])[:, 0]
        on_mask = log_p[:, mask].exp()
        dt = 1.0 / self.steps
        t = targets.time.clamp(0.0, 1.0 - 1e-4)
        now = ((1.0 - t) * on_mask / t + 1.0).log()
        before = ((1.0 - t + dt) * on_mask / (t - dt).clamp_min(1e-12) + 1.0).log()
        last = t - dt < 0.5 * dt  # the first step leaves nothing masked
        stay = torch.where(last, 0.0, (1.0 - dt / t) * (now - before))
        return self.steps * (dt / t * (now - own) + stay)


@dataclass(frozen=True)
class ScoreEntropy:
    """SEDD's denoising score entropy at a masked token (arXiv:2310.16834), logits read as log(score * expm1(sigma) * (V - 1)).

    With q = alpha / (1 - alpha): sum over y of exp(score_y) - q score_clean + q (log q - 1).
    """

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        noisiness = (targets.rate / (1.0 - targets.rate)).log()
        score = logits - noisiness[:, None] - math.log(logits.shape[-1] - 1)
        q = (-noisiness).exp()
        others = score.index_fill(1, torch.tensor([mask_of(targets.traits)], device=logits.device), NEVER)
        clean = score.gather(1, targets.clean[:, None])[:, 0]
        return others.exp().sum(-1) - q * clean + q * (-noisiness - 1.0)
