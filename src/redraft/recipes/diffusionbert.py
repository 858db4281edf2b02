"""DiffusionBERT (arXiv:2211.15029): a masked language model (BERT) as absorbing denoiser, no time input; the spindle
schedule masks informative tokens first and gives them back last. Loss: D3PM's step KL and 0.01 plain cross entropy."""

from __future__ import annotations

from ..objectives import LowDiscrepancy, Objective, PerToken
from ..objectives.frequency import Spindle, SpindleMasking, SpindleWeight
from .recipe import Optimiser, Recipe, Rows

STEPS = 2048

RECIPE = Recipe(
    paper="2211.15029 DiffusionBERT: Improving Generative Masked Language Models with Diffusion Models",
    program=Objective(
        times=LowDiscrepancy(low=1 / STEPS),
        masking=SpindleMasking(Spindle(0.3)),
        weight=SpindleWeight(Spindle(0.3), STEPS, hybrid=0.01),
        normaliser=PerToken("answer"),
    ),
    needs=("mask", "token_counts"),
    decodes_with="llada",
    rows=Rows(context=64),
    batch=64,
    optimiser=Optimiser(lr=5e-4),
)
