"""Hyperschedules (HDLM, arXiv:2504.06416): every place has its own noise level; autoregression, blocks and whole-canvas
diffusion are shapes of one schedule. A document's answer is at a random step of its schedule; places are settled (time
0), active (in between) or worthless (time 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.draws import Draws
from ..core.traits import Traits
from ..core.types import NEVER
from ..noise.absorbing import mask_of
from ..noise.hybrid import TwoRates
from ..noise.process import Noise
from .canvas import Canvas, Noised
from .layouts import single
from .readings import Targets
from .view import View

if TYPE_CHECKING:
    from .objective import Objective


def opening(canvas: Canvas) -> tuple[Tensor, Tensor]:
    """(B, T) int64 each: a column's place counted from its document's first answer column, and the answer's length."""
    far = 1 << 30
    first = -canvas.largest(-torch.where(canvas.answer, canvas.place, far))
    return canvas.place - first, canvas.total(canvas.answer.long())


def graded(level: Tensor, levels: int, eps: float) -> Tensor:
    """Times of levels 0 (nearly clean) to levels - 1, evenly from 10 eps to 1 - 10 eps."""
    return 10 * eps + level * (1.0 - 20 * eps) / max(levels - 1, 1)


@dataclass(frozen=True)
class BlockAnnealing:
    """One block of `block` places after the other, each at levels - 1, ..., 0; blocks are counted in places."""

    block: int
    levels: int
    eps: float = 1e-4

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        before, length = opening(canvas)
        first = (canvas.place - before) // self.block
        num = torch.where(length > 0, (canvas.place - before + length - 1) // self.block - first + 1, 1)
        step = (draws.document(canvas, "step") * (self.levels * num)).long().clamp_max(self.levels * num - 1)
        return self.at(step + first * self.levels, canvas.place)

    def at(self, step: Tensor, place: Tensor) -> Tensor:
        """Times of places at a step of the schedule that begins at place 0; same shapes."""
        block, level = step // self.levels, self.levels - 1 - step % self.levels
        mine = place // self.block
        return torch.where(mine < block, 0.0, torch.where(mine > block, 1.0, graded(level, self.levels, self.eps)))


@dataclass(frozen=True)
class SimpleAnnealing:
    """A ramp of `width` places, level 0 at its left to levels - 1 at its right, that moves right by the number of its
    zeros each step; it enters from the left one place a step."""

    width: int
    levels: int
    eps: float = 1e-4

    @property
    def ramp(self) -> Tensor:
        """(width,) int64 levels."""
        if self.width == 1:
            return torch.tensor([self.levels - 1])
        return torch.tensor([round(i * (self.levels - 1) / (self.width - 1)) for i in range(self.width)])

    @property
    def stride(self) -> int:
        """Places settled a step."""
        return max(int((self.ramp == 0).sum()), 1)

    def draw(self, canvas: Canvas, draws: Draws) -> Tensor:
        place, length = opening(canvas)
        steps = self.width - 1 + -(-length // self.stride)
        return self.at((draws.document(canvas, "step") * steps).long().clamp_max(steps - 1), place)

    def at(self, step: Tensor, place: Tensor) -> Tensor:
        """Times of places at a step from 0 on; same shapes."""
        start = step + 1 - self.width
        inside = place - torch.where(start > 0, start * self.stride, start)
        level = self.ramp.to(place.device)[inside.clamp(0, self.width - 1)]
        active = graded(level, self.levels, self.eps)
        return torch.where(inside < 0, 0.0, torch.where(inside >= self.width, 1.0, active))


@dataclass(frozen=True)
class ActiveWindow:
    """Only active columns are noised and learned; settled ones are context like a prompt, worthless ones are not there."""

    def noise(self, objective: Objective, canvas: Canvas, draws: Draws, traits: Traits) -> tuple[Canvas, Noised]:
        time = objective.times.draw(canvas, draws)
        active = canvas.answer & (time > 0) & (time < 1)
        there = canvas.valid & ~(canvas.answer & (time >= 1))
        shown = Canvas(canvas.tokens, there, active, canvas.suffix, canvas.sample, canvas.place)
        return shown, objective.corrupt(shown, draws, traits, time)


@dataclass(frozen=True)
class Annealed:
    """The context's attention ("full", "causal", or by blocks of `block` places) and the learned columns, which see all."""

    context: Literal["full", "causal", "block"] = "block"
    block: int = 0

    def lay(self, canvas: Canvas, noised: Noised, learn: Tensor, draws: Draws) -> View:
        rank = {"full": 0 * canvas.place, "causal": canvas.place, "block": canvas.place // max(self.block, 1)}[
            self.context
        ]
        return single(canvas, noised, learn, torch.where(canvas.answer, NEVER - 1, rank))


@dataclass(frozen=True)
class EpsilonBound:
    """HDLM's epsilon-hybrid cross entropy at every learned column, under noise TokenEdits(eps): a masked column counts
    1 / p, a replaced one balance (1 - eps) / (1 - p), one left alone balance eps / (1 - p); p is the time.

    bare    without the division by 1 - p, as the paper's code has it under hyperschedules
    """

    eps: float = 0.01
    balance: float = 1.0
    bare: bool = False

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        p, mask = targets.time, mask_of(targets.traits)
        seen = self.balance if self.bare else self.balance / (1.0 - p).clamp_min(1e-4)
        others = torch.where(targets.hit, 1.0 - self.eps, self.eps) * seen
        weight = torch.where(targets.seen == mask, 1.0 / p.clamp_min(1e-4), others)
        return weight * F.cross_entropy(logits, targets.clean, reduction="none")


@dataclass(frozen=True)
class RateEntropy:
    """Score entropy under TwoRates noise (HDLM's gamma-hybrid): sigma' sum over y unlike z of Q(y, z) (s_y - r_y log s_y +
    r_y log r_y - r_y), logits read as log s_y = log p_t(y) / p_t(z), r_y = q(y | x) / q(z | x)."""

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        noise: Noise = targets.noise
        assert isinstance(noise, TwoRates)
        traits, t = targets.traits, targets.time
        mask, num = mask_of(traits), traits.vocab - 1
        q = noise.distribution(targets.clean, t, traits)
        ratio = q / q.gather(1, targets.seen[:, None])
        column = torch.arange(traits.vocab, device=logits.device)
        rate = torch.where(targets.seen == mask, 1.0 - noise.gamma, noise.gamma / num)[:, None]
        flows = (column != mask) & (column != targets.seen[:, None])
        score = logits[:, : traits.vocab]
        entropy = score.exp() - ratio * score + torch.xlogy(ratio, ratio) - ratio
        growth = -noise.schedule.slope(t) / noise.schedule.alpha(t)
        return growth * (rate * torch.where(flows, entropy, 0.0)).sum(-1)
