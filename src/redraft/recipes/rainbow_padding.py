"""Rainbow Padding (arXiv:2510.03680): an answer, one end token, then seven pad tokens in a circle to the row's end. LLaDA's
fine-tuning loss (as in `llada_sft`) over all of it, so that no single padding token becomes the likeliest at every late place."""

from __future__ import annotations

from ..objectives import CrossEntropy, InverseRate, Objective, PerDocument
from ..objectives.times import Uniform
from .recipe import Optimiser, Recipe, Rows

RECIPE = Recipe(
    paper="2510.03680 Rainbow Padding: Mitigating Early Termination in Instruction-Tuned Diffusion LLMs",
    program=Objective(
        times=Uniform(low=1e-3),
        term=CrossEntropy(subs=False),
        weight=InverseRate(),
        normaliser=PerDocument("answer"),
    ),
    needs=("mask",),
    decodes_with="llada",
    rows=Rows(context=512, end="rainbow", num_pads=7, align=64),
    optimiser=Optimiser(lr=1e-5, weight_decay=0.1, betas=(0.9, 0.999), warmup=50),
)
