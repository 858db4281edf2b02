"""DiffuLLaMA: an autoregressive checkpoint keeps its shifted predictions; its attention opens from causal to full while it
trains, pair by pair at random. Cross entropy over t, divided by the number of masked tokens that are predicted.

The paper opens the attention over its first 10 000 steps; here over the first fifth of the run.
"""

from __future__ import annotations

from ..objectives import Causal, CrossEntropy, Objective, PerToken, Shifted
from ..objectives.forcing import Annealed
from ..objectives.reweight import InverseTime
from ..objectives.times import Uniform
from .curriculum import Curve, Ramp
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2410.17891 Scaling Diffusion Language Models via Adaptation from Autoregressive Models",
    program=Objective(
        times=Uniform(low=1e-3),
        layout=Annealed(0.0, Causal()),
        target=Shifted(),
        term=CrossEntropy(subs=False),
        weight=InverseTime(),
        normaliser=PerToken("learned"),
    ),
    start="causal",
    shift=True,
    curriculum=(Curve(("layout.share",), Ramp(0.0, 1.0, end=0.2)),),
    needs=("mask",),
    decodes_with="dream",
    rows=Rows(pack=True),
    optimiser=Optimiser(lr=1.5e-5, warmup=2000),
)
