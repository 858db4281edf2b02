"""DiffusionGemma (google/diffusiongemma-26B-A4B-it): uniform noise on canvases behind causally encoded text, plain cross
entropy over every canvas token, self-conditioning half the time, and the next-token loss of the encoder.

As TRL and NeMo Automodel fine-tune it; the published sources do not say how the encoder's loss is weighted: 1 here."""

from __future__ import annotations

from ..models.families.diffusion_gemma import Shape
from ..noise.uniform import Uniform as UniformNoise
from ..objectives import Objective, PerToken, Uniform
from ..objectives.auxiliary import NextToken
from ..objectives.canvases import Canvases, SelfConditioned
from .recipe import Optimiser, Recipe, Rows

CANVAS = 256

RECIPE = Recipe(
    paper="google/diffusiongemma-26B-A4B-it (model card); uniform state diffusion 2412.10193",
    program=SelfConditioned(
        Objective(
            noise=UniformNoise(),
            times=Uniform(low=1e-3, high=1 - 1e-3),
            layout=Canvases(CANVAS),
            normaliser=PerToken("answer"),
            auxiliary=(NextToken(1.0),),
            supervise="answer",
        ),
        chance=0.5,
    ),
    attention="encoder_decoder",
    block=CANVAS,
    noise="uniform",
    needs=("self_conditioning", "two_forwards"),
    decodes_with="diffusion_gemma",
    rows=Rows(context=1024, end="all", align=CANVAS),
    optimiser=Optimiser(lr=1.5e-4, betas=(0.95, 0.99)),
    model=Shape(vocab_size=768, hidden_size=192, canvas=CANVAS),
)
