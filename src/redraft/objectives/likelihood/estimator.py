"""What every likelihood estimator takes and gives, and the one place where they run the model.

An estimator asks for looks: noisings of the rows, each with the columns whose log-probability it wants. `scores`
answers them, at most `rows` rows a forward.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ...core.draws import Keyed
from ...core.errors import BadInput, Unsupported
from ...core.traits import Traits
from ...noise.absorbing import Clean
from ..canvas import Canvas, Noised
from ..layouts import Causal, Full, TwoStream
from ..objective import Objective
from ..readings import Aligned, Shifted, Target

Kind = Literal["exact", "bound", "approximation"]
Tick = Callable[[int], None]  # rows that went through the model since the last call
ROWS = 32


@dataclass(frozen=True)
class LogProb:
    """What an estimator found of B documents, one a row.

    value         (B,) float64, log-probability of the answer in nats, a lower bound where `kind` is "bound"
    error         (B,) float64, standard error of `value` over the estimator's own draws; 0 where nothing was drawn,
                  NaN where one draw cannot tell
    num_tokens    (B,) int64, tokens scored
    num_forwards  (B,) int64, rows of this document that went through the model
    kind          "exact", "bound" (the expectation is at most the log-probability) or "approximation" (a bound, up to
                  the error of a quadrature)
    each          (B, T) float64, what each column adds to `value`; None where it has no such parts
    """

    value: Tensor
    error: Tensor
    num_tokens: Tensor
    num_forwards: Tensor
    kind: Kind
    each: Tensor | None = None


class LogProbEstimator(Protocol):
    """Log-probabilities of the canvas's answers, each with its standard error."""

    def estimate(
        self,
        model: Any,
        canvas: Canvas,
        traits: Traits,
        seed: int = 0,
        num_samples: int = 32,
        rows: int = ROWS,
        tick: Tick | None = None,
    ) -> LogProb:
        """num_samples: noisings of each document, as near as the estimator's design allows. rows: most per forward."""
        ...


def row_of(model: Any, traits: Traits) -> Objective:
    """How a model is read: its layout, target and noise as an objective.

    A block model is read as it decodes: clean blocks before the noised one, and where predictions are shifted a block's
    first token comes from the clean row before it; a causal model that opens blocks, with a causal text before them.
    Unsupported for encoder-decoders.
    """
    if traits.attention == "encoder_decoder":
        raise Unsupported("likelihoods expect a model of one network, found an encoder-decoder; give it its own row.")
    target: Target = Shifted() if traits.shift else Aligned()
    if traits.attention == "causal":
        layout = TwoStream(traits.block, causal=True, bridge=traits.shift)
        return Objective(layout=layout, target=target) if opens(traits) else autoregressive_row(traits)
    conditioned = bool(getattr(getattr(model, "config", None), "conditioned", False))
    if traits.noise == "uniform":
        from .density import uniform_row

        return dataclasses.replace(uniform_row(), conditioned=conditioned)
    if traits.attention == "block":
        if traits.block < 1:
            raise BadInput(f"a block model's likelihood needs its block size, found {traits.block}; give one.")
        layout = TwoStream(traits.block, bridge=traits.shift)
        return Objective(layout=layout, target=target, conditioned=conditioned)
    return Objective(layout=Full(), target=target, conditioned=conditioned)


def opens(traits: Traits) -> bool:
    """A causal model that decodes open blocks which see themselves whole (NBDiff, SBD)."""
    return traits.attention == "causal" and traits.block > 1 and traits.mask is not None


def autoregressive_row(traits: Traits) -> Objective:
    """How a causal model is read one token at a time, which it can be whatever blocks it opens."""
    return Objective(noise=Clean(), layout=Causal(), target=Shifted() if traits.shift else Aligned())


def default_estimator(traits: Traits) -> LogProbEstimator:
    """The estimator for a model where none is named: exact where one forward is enough, else the bound
    by coupled masks, which has the smallest error for its forwards on the enumerable toys; on redraft-tiny exact counts stated less."""
    from .blockwise import Blockwise
    from .density import Density
    from .ordered import LeftToRight
    from .sampled import Coupled

    if traits.attention == "causal" and not opens(traits):
        return LeftToRight()
    if traits.noise == "uniform":
        return Density()
    return Coupled() if traits.attention == "full" else Blockwise()


@dataclass(frozen=True)
class Look:
    """One noising of every row; all (B, T). hit: columns noised; read: columns wanted; time: the level told."""

    hit: Tensor
    read: Tensor
    time: Tensor


def scored(canvas: Canvas, row: Objective, traits: Traits) -> Canvas:
    """The canvas with those columns alone as its answer that some output predicts; one document a row."""
    if bool((canvas.document[canvas.valid] > 0).any()):
        raise BadInput("likelihoods take one document a row, found packed rows; unpack them.")
    nothing = torch.zeros_like(canvas.answer)
    noised = Noised(canvas.tokens, nothing, canvas.place * 0.0, canvas.place * 0.0)
    view = row.layout.lay(canvas, noised, canvas.answer, Keyed(0))
    row_index, column = (view.learn & (row.target.outputs(view) >= 0)).nonzero(as_tuple=True)
    answer = nothing.index_put((row_index, view.source[row_index, column]), torch.tensor(True, device=nothing.device))
    mask = traits.mask
    if mask is not None and bool((canvas.tokens[answer] == mask).any()):
        raise BadInput("a document to score should not hold the mask token, found one; take it out.")
    return dataclasses.replace(canvas, answer=answer & canvas.answer)


def taken(canvas: Canvas, index: Tensor) -> Canvas:
    """These rows of a canvas."""
    return Canvas(
        *(x[index] for x in (canvas.tokens, canvas.valid, canvas.answer, canvas.suffix, canvas.sample, canvas.place))
    )


@torch.no_grad()
def scores(
    model: Any, row: Objective, canvas: Canvas, looks: Iterable[Look], traits: Traits, rows: int, tick: Tick | None
) -> Iterator[Tensor]:
    """For each look the log-probabilities (B, T) float64 of the columns it reads, 0 elsewhere."""
    for group in chunks(looks, max(rows // len(canvas.tokens), 1)):
        wanted = torch.stack([look.read.any(1) for look in group])  # (looks, B)
        which, index = wanted.nonzero(as_tuple=True)
        out = torch.zeros(len(group), *canvas.tokens.shape, dtype=torch.float64, device=canvas.tokens.device)
        hit, read, time = (torch.stack([getattr(look, x) for look in group]) for x in ("hit", "read", "time"))
        for start in range(0, len(index), rows):
            w, i = which[start : start + rows], index[start : start + rows]
            small = taken(canvas, i)
            tokens = row.noise.fill(small, small.tokens, hit[w, i], time[w, i], Keyed(0), traits)
            noised = Noised(tokens, hit[w, i], time[w, i], row.noise.rate(time[w, i]))
            job = row.job(small, noised, Keyed(0), traits, read[w, i])
            each = row.run({"main": model}, job, job.counts).each
            assert each is not None
            out[w, i] = -each.double().nan_to_num(0.0)
            if tick is not None:
                tick(len(i))
        yield from out


def chunks(items: Iterable[Look], size: int) -> Iterator[list[Look]]:
    """Lists of at most `size`."""
    group: list[Look] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
