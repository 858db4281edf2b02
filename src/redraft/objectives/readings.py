"""Where outputs become losses: targets, parameterisations, losses per target, weights and normalisers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.traits import Traits
from ..noise.process import Noise
from .canvas import Canvas, Noised
from .view import View


@dataclass(frozen=True)
class Targets:
    """What a loss knows of its n targets; all (n,) but noise and traits.

    clean, seen   the true token and what the noised canvas held
    time, rate    the column's time and the probability with which it was hit
    hit           bool, the noise took it
    """

    clean: Tensor
    seen: Tensor
    time: Tensor
    rate: Tensor
    hit: Tensor
    noise: Noise
    traits: Traits

    def take(self, rows: slice) -> Targets:
        """The targets of these rows."""
        return Targets(
            self.clean[rows], self.seen[rows], self.time[rows], self.rate[rows], self.hit[rows], self.noise, self.traits
        )


class Target(Protocol):
    """Which output predicts a column."""

    def outputs(self, view: View) -> Tensor:
        """(B, W) int64: the view column whose output predicts this one, -1 where there is none."""
        ...


@dataclass(frozen=True)
class Aligned:
    """The output at a column predicts that column (LLaDA, SDAR, LLaDA2)."""

    def outputs(self, view: View) -> Tensor:
        return torch.arange(view.tokens.shape[1], device=view.tokens.device).expand_as(view.tokens)


@dataclass(frozen=True)
class Shifted:
    """The output one row before predicts a column, as in an autoregressive model (Dream, DiffuLLaMA, Fast-dLLM v2).

    first   a document's first column has no row before: it is not learned ("drop") or predicted by itself ("own", MGDM)
    """

    first: Literal["drop", "own"] = "drop"

    def outputs(self, view: View) -> Tensor:
        if self.first == "drop":
            return view.before
        own = torch.arange(view.tokens.shape[1], device=view.tokens.device).expand_as(view.tokens)
        return torch.where(view.before >= 0, view.before, own)


class Term(Protocol):
    """A loss for each target."""

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        """logits (n, V) float32, V at least traits.vocab -> (n,)."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """-log p(clean). subs: the mask is no answer, its logit is taken out (MDLM's SUBS). smoothing: of labels."""

    subs: bool = True
    smoothing: float = 0.0

    def each(self, logits: Tensor, targets: Targets) -> Tensor:
        mask = targets.traits.mask
        if self.subs and mask is not None:
            logits = logits.index_fill(1, torch.tensor([mask], device=logits.device), float("-inf"))
        if self.smoothing:
            log_p = logits.log_softmax(-1)
            own = -log_p.gather(1, targets.clean[:, None])[:, 0]
            spread = -log_p.masked_fill(log_p == float("-inf"), 0.0).mean(-1)
            return (1 - self.smoothing) * own + self.smoothing * spread
        return F.cross_entropy(logits, targets.clean, reduction="none")


class Weight(Protocol):
    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        """(B, T) the weight of a column's loss."""
        ...


@dataclass(frozen=True)
class Flat:
    """Every target counts the same."""

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        return torch.ones_like(noised.time)


@dataclass(frozen=True)
class Bound:
    """The likelihood bound's weight, -alpha'(t) / (1 - alpha(t))."""

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        return noise.weight(noised.time)


@dataclass(frozen=True)
class InverseRate:
    """1 / the probability of being hit (LLaDA's 1/p), at most 1 / low."""

    low: float = 1e-6

    def of(self, canvas: Canvas, noised: Noised, noise: Noise) -> Tensor:
        return 1.0 / noised.rate.clamp_min(self.low)


class Normaliser(Protocol):
    """What the weighted sum of losses is divided by. Never silent: each is another gradient."""

    def factors(self, canvas: Canvas, learn: Tensor) -> Tensor:
        """(B, T) float32 factors of the losses."""
        ...

    def count(self, canvas: Canvas, learn: Tensor) -> Tensor | None:
        """() float32, what the sum is divided by; counts of micro-batches and processes add up. None: by the weights."""
        ...


Columns = Literal["learned", "answer", "valid"]


def _columns(canvas: Canvas, learn: Tensor, of: Columns) -> Tensor:
    return {"learned": learn, "answer": canvas.answer, "valid": canvas.valid}[of]


@dataclass(frozen=True)
class PerToken:
    """The sum over the batch by the number of `of` columns in the batch."""

    of: Columns = "learned"

    def factors(self, canvas: Canvas, learn: Tensor) -> Tensor:
        return torch.ones(learn.shape, device=learn.device)

    def count(self, canvas: Canvas, learn: Tensor) -> Tensor:
        return _columns(canvas, learn, self.of).sum().float()


@dataclass(frozen=True)
class PerDocument:
    """Each document's sum by the number of its own `of` columns, then the mean over documents; of=None: the sum."""

    of: Columns | None = "learned"

    def factors(self, canvas: Canvas, learn: Tensor) -> Tensor:
        if self.of is None:
            return torch.ones(learn.shape, device=learn.device)
        return 1.0 / canvas.total(_columns(canvas, learn, self.of).float()).clamp_min(1.0)

    def count(self, canvas: Canvas, learn: Tensor) -> Tensor:
        return canvas.num_documents.float()


@dataclass(frozen=True)
class PerWeight:
    """The weighted mean: the sum over the batch by the sum of the weights of the targets that are read (WeDLM,
    arXiv:2512.22737). Under flat weights the mean over these; a document's first token, which a shifted model does not
    predict, is none."""

    def factors(self, canvas: Canvas, learn: Tensor) -> Tensor:
        return torch.ones(learn.shape, device=learn.device)

    def count(self, canvas: Canvas, learn: Tensor) -> None:
        return None
