"""Entropy-bounded renoising: the denoiser of uniform-noise models (DiffusionGemma; the bound is arXiv:2505.24857's)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.slots import Commit, Leaves
from ...core.types import Kind, Prediction, Segments, State, Transition
from ...ops.selection import amax_where, places


@dataclass(frozen=True)
class Renoise(Commit):
    """Each step draws the whole canvas, keeps the surest draws and fills the rest with fresh noise. Nothing is
    committed until the canvas is, by its arg max: when that has not changed for some steps and its mean entropy is
    small, or steps run out.

    bound    draws are kept in order of entropy (nats) while the sum over the surer ones is at most this; at least one
    steps    most steps per canvas
    patience how many previous steps must have had the same arg max
    calm     the mean entropy must be below this
    """

    bound: float = 0.1
    steps: int = 48
    patience: int = 1
    calm: float = 0.005
    needs: ClassVar[tuple[str, ...]] = ("uniform",)
    reads: ClassVar[tuple[str, ...]] = ("entropy", "top_ids")
    leaves: ClassVar[Mapping[str, Kind]] = {"past": "column"}

    def init(self, s: State) -> dict[str, Tensor]:
        return {"past": torch.full((*s.tokens.shape, self.patience), -1, dtype=torch.int64, device=s.tokens.device)}

    def step(self, s: State, seg: Segments, pred: Prediction, cand: Tensor, m: Leaves) -> tuple[Transition, Leaves]:
        entropy = pred.read("entropy")
        best, past = pred.read("top_ids")[..., 0], m["past"]
        place = places(-entropy, cand)
        ordered = entropy.masked_fill(~cand, 0.0).gather(1, place.argsort(1))
        before = (ordered.cumsum(1) - ordered).gather(1, place)
        kept = cand & (before <= self.bound)
        noise = (s.noise.uniform(s.seed, s.step, s.columns, 3) * s.traits.vocab).long()
        same = ((past == best[..., None]).all(-1) | ~cand).all(1)
        mean = ordered.sum(1) / cand.sum(1).clamp(min=1)
        age = amax_where(seg.at(seg.age), cand, 0)[:, 0]
        ends = ((same & (mean < self.calm)) | (age + 1 >= self.steps))[:, None]
        token = torch.where(ends, best, torch.where(kept, pred.token, noise))
        if self.patience:
            past = torch.where(cand[..., None], torch.cat((past[..., 1:], best[..., None]), -1), past)
        # what is picked and dropped at once takes its token and stays open
        return Transition(cand, token, cand & ~ends, torch.zeros_like(ends[:, 0]), pred.read("prob")), {"past": past}
