"""Which rows of parts make sense, and which have a likelihood bound for their expectation. Both answer with the reason
why not, or None.

`valid` refuses what cannot teach anything: an output that sees the token it shall predict, or a loss made for another
noise. It lays a small canvas and follows who sees whom through any number of layers, so a new layout needs no entry here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..core.draws import Keyed
from ..core.errors import BadInput
from ..noise.absorbing import Absorbing, Clean
from ..noise.gaussian import Gaussian
from ..noise.hybrid import Hybrid
from ..noise.schedules import Linear
from ..noise.uniform import Uniform
from .auxiliary import NextToken
from .bounds import Focal, HybridBound, UniformBound
from .canvas import Canvas, Noised
from .masking import Bernoulli
from .objective import Objective
from .readings import Bound, CrossEntropy, Flat, InverseRate, Normaliser, PerDocument, PerToken, Shifted, Target
from .reweight import InverseTime
from .terms import Posterior, ScoreEntropy
from .times import LowDiscrepancy, Stratified
from .times import Uniform as UniformTimes
from .view import CLEAN, NOISED, View

# losses and the noises they are made for; losses that are not named go with every noise
TERMS: tuple[tuple[type, tuple[type, ...]], ...] = (
    (UniformBound, (Uniform, Gaussian)),
    (HybridBound, (Hybrid,)),
    (Posterior, (Absorbing,)),
    (ScoreEntropy, (Absorbing,)),
    (Focal, (Absorbing,)),
)
# losses in whose bound every answer column counts, changed or not, and which bring their own weight in time
WHOLE = (UniformBound, HybridBound)
# (noise, losses, weights) whose expectation is a bound of the negative log-likelihood, or the thing itself
BOUNDS: tuple[tuple[type, type, tuple[type, ...]], ...] = (
    (Absorbing, CrossEntropy, (Bound, InverseRate, InverseTime)),
    (Uniform, UniformBound, (Flat,)),
    (Clean, CrossEntropy, (Flat, Bound, InverseRate)),
)


def valid(program: Any) -> str | None:
    """Why this objective, or one inside this program, cannot train anything; None where it can."""
    return next((reason for one in objectives(program) if (reason := _reason(one)) is not None), None)


def check(program: Any) -> None:
    """BadInput for a program that is not `valid`."""
    reason = valid(program)
    if reason is not None:
        raise BadInput(f"this objective cannot train: {reason}.")


def objectives(program: Any) -> Iterator[Objective]:
    """The objectives inside a program, itself among them."""
    if isinstance(program, Objective):
        yield program
    elif isinstance(program, tuple):
        for one in program:
            yield from objectives(one)
    elif dataclasses.is_dataclass(program) and not isinstance(program, type):
        for field in dataclasses.fields(program):
            yield from objectives(getattr(program, field.name))


def _reason(one: Objective) -> str | None:
    term, noise = type(one.term).__name__, type(one.noise).__name__
    for kind, noises in TERMS:
        if isinstance(one.term, kind) and not isinstance(one.noise, noises):
            names = " or ".join(n.__name__ for n in noises)
            return f"{term} is a loss for {names} noise, found {noise}; change one of them"
    if isinstance(one.term, WHOLE) and one.supervise != "answer":
        return f"{term} counts every answer column, found supervise={one.supervise!r}; set supervise='answer'"
    if isinstance(one.term, WHOLE) and isinstance(one.weight, (Bound, InverseRate, InverseTime)):
        return f"{term} has its weight in time inside, found {type(one.weight).__name__} on top; set weight=Flat()"
    if isinstance(one.noise, Clean) and one.supervise == "changed":
        return "clean noise changes no token, found supervise='changed'; set supervise='hit'"
    return leak(one)


def leak(one: Objective) -> str | None:
    """Why some output sees its own target; None where none does."""
    width = 2 * max(int(getattr(one.layout, "block", 0)), 4) + 1
    column = torch.arange(width)
    there = torch.ones(1, width, dtype=torch.bool)
    canvas = Canvas(column[None] % 7, there, there & (column > 1), ~there, torch.zeros(1, dtype=torch.int64))
    for hit in (canvas.answer, canvas.answer & (column % 2 == 0)):
        half = torch.full((1, width), 0.5)
        learn = canvas.answer if one.supervise == "answer" else hit
        view = one.layout.lay(canvas, Noised(canvas.tokens, hit, half, half), learn, Keyed(0))
        open_ = isinstance(one.noise, Clean)
        if seen(view, view.learn, one.target, open_):
            return (
                f"in {one.layout!r} with {type(one.noise).__name__} noise the output that predicts a token sees that "
                "token; take a layout in which it does not, or Shifted() targets"
            )
        for auxiliary in one.auxiliary:
            if isinstance(auxiliary, NextToken) and seen(view, view.stream == CLEAN, Shifted(), open_):
                return (
                    "NextToken() learns the clean stream's next tokens, which that stream already sees, found "
                    f"{one.layout!r}; make the clean stream causal"
                )
    return None


def seen(view: View, learn: Tensor, target: Target, open_: bool) -> bool:
    """Does the output of some column in `learn` (B, W) see that column's true token? open_: noised columns show it."""
    reach = view.mask()
    while True:
        more = reach | (reach.float() @ reach.float() > 0)
        if torch.equal(more, reach):
            break
        reach = more
    outputs = target.outputs(view)
    row, column = (learn & (outputs >= 0) & (view.document >= 0)).nonzero(as_tuple=True)
    shows = (view.stream == CLEAN) | (view.stream == NOISED if open_ else torch.zeros_like(view.learn))
    same = (view.source[row] == view.source[row, column, None]) & shows[row] & (view.document[row] >= 0)
    return bool((reach[row, outputs[row, column]] & same).any())


def bounds(one: Objective) -> str | None:
    """Why the expected loss is no bound of the negative log-likelihood (times a constant); None where it is one."""
    reason = valid(one)
    if reason is not None:
        return reason
    fits = [weights for noise, term, weights in BOUNDS if isinstance(one.noise, noise) and isinstance(one.term, term)]
    noise, term, weight = (type(x).__name__ for x in (one.noise, one.term, one.weight))
    if not fits:
        return f"{term} under {noise} noise is not a bound's loss"
    if not isinstance(one.weight, fits[0]):
        return f"the weight {weight} is not the bound's; take {fits[0][0].__name__}()"
    if isinstance(one.weight, (InverseRate, InverseTime)) and getattr(one.noise, "schedule", Linear()) != Linear():
        return f"{weight} is the bound's weight under the linear schedule only; take Bound()"
    if isinstance(one.term, CrossEntropy) and one.term.smoothing:
        return "label smoothing changes the cross entropy"
    if isinstance(one.noise, Clean):
        return None
    if not isinstance(one.masking, Bernoulli):
        return f"{type(one.masking).__name__} hits columns with other probabilities than the noise's"
    if not isinstance(one.times, (UniformTimes, LowDiscrepancy, Stratified)) or one.times.high < 1:
        return f"{one.times!r} does not run over all times"
    if one.supervise == "changed":
        return "columns that the noise left as they were count in the bound too"
    return _divided(one.normaliser)


def _divided(normaliser: Normaliser) -> str | None:
    fits = isinstance(normaliser, (PerToken, PerDocument)) and normaliser.of != "learned"
    return None if fits else f"{normaliser!r} divides by what the noise drew, so that the expectation is another one"
