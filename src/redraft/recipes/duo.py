"""Duo: uniform noise as the argmax of a Gaussian one; for the first fifth of the run the network sees soft mixtures of
embeddings, whose temperature falls from 0.1 to 0.01, then UDLM's bound on hard tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..noise.gaussian import Gaussian
from ..objectives import Bernoulli, Objective, Once
from ..objectives.relaxed import Every, Relaxed
from .curriculum import Curve, Ramp, Steps
from .recipe import Recipe
from .udlm import RECIPE as UDLM

HARD: Objective = UDLM.program  # type: ignore[assignment]
SOFT, END = 0.1, 0.2  # shares of the run


@dataclass(frozen=True)
class Cooling:
    """Soft inputs whose log10 temperature falls from `first` to `last` between `start` and `end` of the run; then none."""

    first: float = -1.0
    last: float = -2.0
    start: float = SOFT
    end: float = END

    def value(self, progress: float) -> Relaxed | Once:
        if progress >= self.end:
            return Once()
        return Relaxed(Ramp(self.first, self.last, self.start, self.end).value(progress))


RECIPE: Recipe = replace(
    UDLM,
    paper="2506.10892 The Diffusion Duality",
    program=replace(HARD, noise=Gaussian(), masking=Every(), replicas=Relaxed(-1.0)),
    curriculum=(
        Curve(("replicas",), Cooling()),
        Curve(("noise",), Steps(((0.0, Gaussian()), (END, HARD.noise)))),
        Curve(("masking",), Steps(((0.0, Every()), (END, Bernoulli())))),
    ),
    needs=("time_conditioning", "soft_inputs"),
)
