"""Uniform noise as the argmax of a Gaussian one (Duo, arXiv:2506.10892): w = a x + s eps with log(s^2 / a^2) = gamma,
z = argmax w. z is then the clean token with probability alpha + (1 - alpha) / V and any other one alike, with

    alpha(gamma) = (V p(gamma) - 1) / (V - 1),  p = integral of N(u; exp(-gamma / 2), 1) Phi(u)^(V - 1) du

(the diffusion transform). All of it in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.draws import Draws, Places, normal
from ..core.errors import BadInput
from ..core.traits import Traits
from .schedules import weight

LOW, HIGH = -5.0, -1.0  # where the tables begin and end


def argmax_probability(gamma: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
    """p(gamma) and p'(gamma), float64, by the trapezoid rule, which is exact to rounding here."""
    nodes = torch.linspace(-10.0, 10.0, 4001, dtype=torch.float64)
    bell = torch.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi) * (nodes[1] - nodes[0])
    values, slopes = [], []
    for part in gamma.double().flatten().split(256):
        mean = torch.exp(-part / 2)[:, None]
        u = nodes + mean
        log_cdf = torch.special.log_ndtr(u)
        values.append((bell * torch.exp((vocab - 1) * log_cdf)).sum(1))
        density = torch.exp((vocab - 2) * log_cdf - u**2 / 2) / math.sqrt(2 * math.pi)
        slopes.append((bell * (vocab - 1) * density).sum(1) * (-mean[:, 0] / 2))
    return torch.cat(values).view(gamma.shape), torch.cat(slopes).view(gamma.shape)


@cache
def _table(vocab: int, points: int) -> tuple[Tensor, Tensor]:
    return argmax_probability(torch.linspace(LOW, HIGH, points, dtype=torch.float64), vocab)


@cache
def _moments(vocab: int, terms: int) -> Tensor:
    """log of integral z^n N(z; 0, 1) Phi(z)^(V - 1) dz / n! and its sign, (2, terms + 1)."""
    z = torch.linspace(-14.0, 40.0, 40001, dtype=torch.float64)
    log_mass = (vocab - 1) * torch.special.log_ndtr(z) - z**2 / 2 - 0.5 * math.log(2 * math.pi) + (z[1] - z[0]).log()
    n = torch.arange(terms + 1, dtype=torch.float64)[:, None]
    size = log_mass + n * z.abs().clamp_min(1e-300).log()
    peak = size.max(1, keepdim=True).values
    sign = torch.where((z < 0) & (n % 2 == 1), -1.0, 1.0)
    total = (sign * torch.exp(size - peak)).sum(1)
    return torch.stack((total.abs().log() + peak[:, 0] - torch.lgamma(n[:, 0] + 1), total.sign()))


def series(gamma: Tensor, vocab: int, terms: int = 150) -> tuple[Tensor, Tensor]:
    """p(gamma) and p'(gamma) by the power series in the mean exp(-gamma / 2) (Duo's faster form)."""
    log_m, sign = _moments(vocab, terms)
    mean = torch.exp(-gamma.double() / 2)[..., None]
    n = torch.arange(terms, dtype=torch.float64)
    power = n * mean.log() - mean**2 / 2
    p = (sign[:-1] * torch.exp(power + log_m[:-1])).sum(-1)
    moved = (sign[1:] * (n + 1) * torch.exp(power + log_m[1:])).sum(-1)
    return p, (moved - mean[..., 0] * p) * (-mean[..., 0] / 2)


@cache
def _polynomial(vocab: int, degree: int, low: float, high: float) -> Tensor:
    """(degree + 1,) least-squares coefficients of alpha over gamma in [low, high], scaled to [-1, 1]."""
    x = torch.cos(torch.linspace(0.0, math.pi, 201, dtype=torch.float64))
    p, _ = argmax_probability(low + (high - low) * (x + 1) / 2, vocab)
    powers = x[:, None] ** torch.arange(degree + 1)
    found: Tensor = torch.linalg.lstsq(powers, ((vocab * p - 1) / (vocab - 1))[:, None]).solution[:, 0]
    return found


@dataclass(frozen=True)
class Gaussian:
    """Times 0 to 1 are gammas from `low` to `high`; both a noise and its own schedule.

    vocab   number of states; 0 is the model's, filled in by `fitted`
    map     how alpha and its slope are had: "table" a table of p and p', cubic between its points; "series";
            "polynomial" of degree 9; "nearest" the reference's cached table in float32: the nearest point, and a slope
            by difference over a step of 1e-3 in gamma, which is zero where the table is coarser
    points  of the table; the reference has 100 000
    """

    low: float = -3.5
    high: float = -1.75
    vocab: int = 0
    map: Literal["table", "series", "polynomial", "nearest"] = "table"
    points: int = 2001

    @property
    def schedule(self) -> Gaussian:
        return self

    def fitted(self, traits: Traits) -> Gaussian:
        """This noise for a model."""
        return self if self.vocab else replace(self, vocab=states(traits))

    def gamma(self, t: Tensor) -> Tensor:
        return self.low + t * (self.high - self.low)

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """a and s, with a^2 + s^2 = 1."""
        gamma = self.gamma(t)
        return torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()

    def _nearest(self, gamma: Tensor) -> Tensor:
        p = _table(self.vocab, self.points)[0].float().to(gamma.device)
        index = ((self.points - 1) * (gamma.clamp(LOW, HIGH) - LOW) / (HIGH - LOW)).round().long()
        alpha: Tensor = (self.vocab * p[index] - 1) / (self.vocab - 1)
        return alpha

    def _both(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and d alpha / dt."""
        if self.vocab < 2:
            raise BadInput(
                "Gaussian noise needs the size of the vocabulary, found none; use it through an Objective or set vocab."
            )
        gamma, span = self.gamma(t), self.high - self.low
        if self.map == "nearest":
            alpha = self._nearest(gamma)
            return alpha, span * 1000 * (self._nearest(gamma + 1 / 1000) - alpha)
        if self.map == "polynomial":
            weights = _polynomial(self.vocab, 9, self.low, self.high).to(t.device)
            x, n = (2 * t.double() - 1)[..., None], torch.arange(10, device=t.device)
            alpha = (weights * x**n).sum(-1)
            return alpha, 2 * (weights[1:] * n[1:] * x ** n[:-1]).sum(-1)
        p, slope = series(gamma.cpu(), self.vocab) if self.map == "series" else self._hermite(gamma.cpu().double())
        ratio = self.vocab / (self.vocab - 1)
        return (ratio * p - 1 / (self.vocab - 1)).to(t.device), (ratio * slope * span).to(t.device)

    def _hermite(self, gamma: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = _table(self.vocab, self.points)
        step = (HIGH - LOW) / (self.points - 1)
        place = ((gamma - LOW) / step).clamp(0, self.points - 1 - 1e-9)
        i, x = place.long(), place % 1.0
        a, b, da, db = value[i], value[i + 1], slope[i] * step, slope[i + 1] * step
        two, three = 2 * (a - b) + da + db, 3 * (b - a) - 2 * da - db
        return a + x * (da + x * (three + x * two)), (da + x * (2 * three + 3 * x * two)) / step

    def alpha(self, t: Tensor) -> Tensor:
        return self._both(t)[0].to(t.dtype)

    def slope(self, t: Tensor) -> Tensor:
        return self._both(t)[1].to(t.dtype)

    def rate(self, t: Tensor) -> Tensor:
        return (1.0 - self._both(t)[0]).to(t.dtype)

    def weight(self, t: Tensor) -> Tensor:
        return weight(self, t)

    def prior_loss(self) -> Tensor:
        """() KL from q at t = 1 to even noise, in nats a token: what the end of the schedule leaves out."""
        alpha, num = self.alpha(torch.ones((), dtype=torch.float64)), self.vocab
        here = (alpha + (1 - alpha) / num) * ((num - 1) * alpha + 1).log()
        return here + (1 - 1 / num) * (1 - alpha) * (1 - alpha).log()

    def latent(self, canvas: Places, tokens: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        """w (B, T, vocab), -inf at the mask token where there is one."""
        w = self.mixed(tokens, t, normal(draws.column(canvas, "gauss", traits.vocab)))
        return w if traits.mask is None else w.index_fill(-1, torch.tensor(traits.mask), float("-inf"))

    def mixed(self, tokens: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """a x + s noise, (..., vocab) from standard normal noise (..., vocab); tokens and t (...)."""
        a, s = self.scales(t)
        return a[..., None] * F.one_hot(tokens, noise.shape[-1]) + s[..., None] * noise

    def fill(self, canvas: Places, tokens: Tensor, hit: Tensor, t: Tensor, draws: Draws, traits: Traits) -> Tensor:
        return torch.where(hit, self.latent(canvas, tokens, t, draws, traits).argmax(-1), tokens)


def states(traits: Traits) -> int:
    """How many tokens uniform noise draws from: all but the mask."""
    return traits.vocab - (traits.mask is not None)
