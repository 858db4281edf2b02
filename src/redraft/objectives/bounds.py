"""Likelihood bounds whose loss is more than a weighted cross entropy. The weight in time is part of the loss: use Flat()."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import BadInput
from ..noise.absorbing import mask_of
from ..noise.hybrid import Hybrid
from ..noise.process import Noise
from ..noise.schedules import Schedule
from .canvas import Canvas, Noised
from .readings import Targets


def schedule_of(noise: Noise) -> Schedule:
    """The schedule of a noise that has one."""
    found = getattr(noise, "schedule", None)
    if found is None:
        raise BadInput(f"expected a noise with a schedule, found {noise!r}; use Absorbing, Uniform or Gaussian.")
    return found


def real(logits: Tensor, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, clean and seen ids over the tokens that uniform noise knows: without the mask, and counted without it."""
    mask, vocab = targets.traits.mask, targets.traits.vocab
    if mask is None:
        return logits[:, :vocab], targets.clean, targets.seen
    kept = torch.cat((logits[:, :mask], logits[:, mask + 1 : vocab]), 1)
    return kept, targets.clean - (targets.clean > mask).long(), targets.seen - (targets.seen > mask).long()


def uniform_bound(p: Tensor, clean: Tensor, seen: Tensor, alpha: Tensor, slope: Tensor) -> Tensor:
    """The density in t of the bound under uniform noise (UDLM, arXiv:2412.10193, equation 18).

    With the vectors b = V alpha [. = clean] + 1 - alpha, c = V alpha p + 1 - alpha and the token z that is seen:
    alpha' / (V alpha) * (V / b_z - V / c_z - sum_j b_j / b_z log(c_z b_j / (c_j b_z))).
    b takes two values, so that the sum needs sum_j log c_j alone (Duo). p (n, V), the others (n,) -> (n,).
    """
    vocab = p.shape[-1]
    c = vocab * alpha[:, None] * p + (1.0 - alpha[:, None])
    log_c = c.log()
    c_z, log_z = c.gather(1, seen[:, None])[:, 0], log_c.gather(1, seen[:, None])[:, 0]
    low, high = 1.0 - alpha, vocab * alpha + 1.0 - alpha
    same = seen == clean
    b_z = torch.where(same, high, low)
    rest = (log_z[:, None] - log_c).sum(1)  # sum over j of log(c_z / c_j)
    own = log_z - log_c.gather(1, clean[:, None])[:, 0]
    unequal = low.log() - high.log()  # log(b_j / b_z) for j unlike z, where z is the clean token
    # terms with b_j = low, weighed low / b_z, and the clean token's, weighed high / b_z
    others = rest - own + torch.where(same, (vocab - 1) * unequal, torch.zeros_like(low))
    clean_one = own - torch.where(same, torch.zeros_like(low), unequal)
    total = (low * others + high * clean_one) / b_z
    return slope / (vocab * alpha) * (vocab / b_z - vocab / c_z - total)


@dataclass(frozen=True)
class UniformBound:
    """UDLM's and Duo's closed-form bound at every answer column, changed or not: supervise="answer".

    unscaled   with alpha = 1 - t in the loss whatever the noise's eps is, as UDLM's code has it
    """

    unscaled: bool = False

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        logits, clean, seen = real(logits, targets)
        schedule = schedule_of(targets.noise)
        alpha, slope = schedule.alpha(targets.time), schedule.slope(targets.time)
        if self.unscaled:
            alpha, slope = 1.0 - targets.time, -torch.ones_like(targets.time)
        return uniform_bound(logits.softmax(-1), clean, seen, alpha, slope)


@dataclass(frozen=True)
class HybridBound:
    """GIDD's bound (arXiv:2503.04482): w(t, z) (KL(q_t(. | x) || q_t(. | p)) + r - log r - 1), r = q_t(z | x) / q_t(z | p),
    under Hybrid noise at every answer column: supervise="answer". Without the bound's constants.

    weights   of the bound ("none"), those clipped to [least, most] ("clip"), or "dynamic": 2 at a mask, 1 at a wrong
              token, B / V exp(gamma / 2 sigmoid(-t)) at an equal one, clipped; sigmoid(-t) is what the paper's code has
              for the log signal-to-noise ratio
    """

    weights: Literal["none", "clip", "dynamic"] = "dynamic"
    least: float = 0.0
    most: float = 2.0

    def divergences(self, logits: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        """(n,) KL and (n,) Itakura-Saito divergence r - log r - 1."""
        noise, t, traits = hybrid_of(targets.noise), targets.time, targets.traits
        mask = mask_of(traits)
        never = torch.finfo(logits.dtype).min
        logits = logits[:, : traits.vocab].index_fill(1, torch.tensor([mask], device=logits.device), never)
        q = noise.distribution(F.one_hot(targets.clean, traits.vocab).to(t.dtype), t, traits)
        found = noise.distribution(logits.softmax(-1), t, traits)
        log_ratio = torch.where(q > 0, q.clamp_min(1e-38).log() - found.clamp_min(1e-38).log(), torch.zeros_like(q))
        log_r = log_ratio.gather(1, targets.seen[:, None])[:, 0]
        return (q * log_ratio).sum(-1), torch.expm1(log_r) - log_r

    def bound(self, targets: Targets) -> Tensor:
        """(n,) w(t, z) of the bound."""
        noise, t = hybrid_of(targets.noise), targets.time.double()
        num, c, slope = targets.traits.vocab - 1, noise.spread(t), noise.spread_slope(t)
        gain = (c + (1.0 - t) * slope) / (1.0 - t)
        same = gain / num / (1.0 - t + c / num)
        other = torch.where(c > 0, gain / c.clamp_min(1e-300), torch.zeros_like(c))
        masked = targets.seen == mask_of(targets.traits)
        return torch.where(masked, 1.0 / (t * (1.0 - t)), torch.where(targets.seen == targets.clean, same, other))

    def weight(self, targets: Targets) -> Tensor:
        """(n,) the weight trained with."""
        weight = self.bound(targets)
        if self.weights == "dynamic":
            noise = hybrid_of(targets.noise)
            same = (
                noise.scale / targets.traits.vocab * torch.exp(noise.gamma / 2 * torch.sigmoid(-targets.time.double()))
            )
            unlike = torch.where(targets.seen == mask_of(targets.traits), 2.0, 1.0).to(same)
            weight = torch.where(targets.seen == targets.clean, same, unlike)
        return weight if self.weights == "none" else weight.clamp(self.least, self.most)

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        kl, ratio = self.divergences(logits, targets)
        return self.weight(targets).float() * (kl + ratio)


def hybrid_of(noise: Noise) -> Hybrid:
    """BadInput where it is another noise."""
    if not isinstance(noise, Hybrid):
        raise BadInput(f"GIDD's bound is for Hybrid noise, found {noise!r}; set the objective's noise to Hybrid(...).")
    return noise


@dataclass(frozen=True)
class Focal:
    """alpha (1 - p(clean))^gamma * cross entropy: hard tokens count more (MGDM's token weight, arXiv:2410.14157)."""

    alpha: float = 0.25
    gamma: float = 2.0

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        value = F.cross_entropy(logits, targets.clean, reduction="none")
        return self.alpha * (1.0 - torch.exp(-value)) ** self.gamma * value


@dataclass(frozen=True)
class DiscreteBound:
    """The bound's weight in `steps` steps: steps (alpha_s - alpha_t) / (1 - alpha_t), s = t - 1 / steps (MD4,
    arXiv:2406.04329, with T > 0). Goes with times Discrete(steps)."""

    steps: int

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        schedule, t = schedule_of(noise), noised.time.double()  # differences of alphas vanish in float32 near t = 0
        now = schedule.alpha(t)
        return (self.steps * (schedule.alpha(t - 1.0 / self.steps) - now) / (1.0 - now)).to(noised.time.dtype)

    def at(self, schedule: Schedule, t: Tensor) -> Tensor:
        """The same by way of the log signal-to-noise ratio, as the reference has it in float32: off by up to 1.5 % near t = 0."""
        now, before = schedule.alpha(t), schedule.alpha(t - 1.0 / self.steps)
        return -self.steps * torch.expm1((now / (1.0 - now)).log() - (before / (1.0 - before)).log()) * before


def unmasked_at_start(schedule: Schedule, length: int, vocab: int) -> Tensor:
    """() what the bound over times 0 to 1 leaves out: at t = 0 a share 1 - alpha(0) is masked already, and costs log V."""
    return length * (1.0 - schedule.alpha(torch.zeros(()))) * math.log(vocab)
