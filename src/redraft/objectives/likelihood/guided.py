"""Classifier-free guidance inside a likelihood, as LLaDA's own evaluation has it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from ...noise.absorbing import mask_of
from ..objective import Job, Models, Objective


@dataclass(frozen=True)
class Guided(Objective):
    """Logits (scale + 1) l - scale l', where l' sees the prompt masked (LLaDA, arXiv:2502.09992). Heads are linear, so
    hidden states are mixed instead. Two forwards."""

    scale: float = 0.0

    def hidden(self, models: Models, job: Job) -> Tensor:
        told = super().hidden(models, job)
        if not self.scale:
            return told
        prompt = ~job.canvas.answer.gather(1, job.view.source)
        blind = dataclasses.replace(job.view, tokens=torch.where(prompt, mask_of(job.traits), job.view.tokens))
        return (self.scale + 1) * told - self.scale * super().hidden(models, dataclasses.replace(job, view=blind))
