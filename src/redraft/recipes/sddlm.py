"""SDDLM: uniform noise without its bound: plain cross entropy of the tokens that were replaced by others, averaged over
them. (The paper's later variants add a term against the noise tokens, whose form it reports as sensitive: not here.)"""

from __future__ import annotations

from ..noise.schedules import Linear
from ..noise.uniform import Uniform as UniformNoise
from ..objectives import LowDiscrepancy, Objective, PerToken
from .recipe import Optimiser, Recipe, Rows
from .udlm import TOLD

RECIPE = Recipe(
    paper="2510.22926 Simple Denoising Diffusion Language Models",
    program=Objective(
        noise=UniformNoise(Linear(1e-3)),
        times=LowDiscrepancy(low=1e-3),
        normaliser=PerToken("learned"),
        supervise="changed",
        conditioned=True,
    ),
    start="scratch",
    noise="uniform",
    needs=("time_conditioning",),
    rows=Rows(context=512, pack=True),
    optimiser=Optimiser(lr=3e-4, warmup=2500),
    ema=0.9999,
    model=TOLD,
)
