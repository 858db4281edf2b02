"""UDLM: uniform noise and its likelihood bound in closed form, at every token, changed or not; the network is told the noise
level. Ancestral sampling from the uniform posterior has not landed."""

from __future__ import annotations

from ..models.dit import DiTConfig
from ..noise.schedules import Linear
from ..noise.uniform import Uniform as UniformNoise
from ..objectives import LowDiscrepancy, Objective, PerToken
from ..objectives.bounds import UniformBound
from .recipe import Optimiser, Recipe, Rows

TOLD = DiTConfig(vocab_size=768, hidden_size=192, num_layers=6, num_heads=6, conditioned=True)

RECIPE = Recipe(
    paper="2412.10193 Simple Guidance Mechanisms for Discrete Diffusion Models",
    program=Objective(
        noise=UniformNoise(Linear(1e-3)),
        times=LowDiscrepancy(low=1e-3),
        term=UniformBound(),
        normaliser=PerToken("answer"),
        supervise="answer",
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
