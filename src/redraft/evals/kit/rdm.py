"""HKUNLP/reparam-discrete-diffusion: reparam_absorbing_diffusion.py (RDM)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...noise.absorbing import Absorbing
from ...objectives import Bernoulli, CrossEntropy, Full, Objective, PerToken, Uniform
from ...objectives.reached import Discrete
from ...objectives.steps import Nested, Smoothing, StepWeight
from ..conform_train import TrainCase
from ._recorded import RecordedDraws, as_uniform, losses, rows, traits

WEIGHTS = {"linear": "share", "reciprocal": "reciprocal", "none": "none"}


def train(case: TrainCase) -> dict[str, Tensor]:
    params = case.params
    steps, smooth = int(params.take("T")), float(params.take("label_smoothing"))
    weight = StepWeight(steps, WEIGHTS[params.take("reweighting", only=list(WEIGHTS))])  # type: ignore[arg-type]
    tokens, logits = case.take("x_0"), case.take("decoder_outputs")
    one, two, first, second = case.take("t1"), case.take("t2"), *case.draws("rand_like", "rand_like")
    draws = RecordedDraws(
        {
            "time": as_uniform(one, steps),
            "second time": as_uniform(two, steps),
            "mask": first,
            "second mask": second,
        }
    )
    canvas = rows(tokens, case.take("non_special_sym_mask"), tokens == tokens)
    objective = Objective(
        Absorbing(), Discrete(steps, Uniform(low=0.0)), Bernoulli(), Full(), term=CrossEntropy(subs=False), weight=weight,
        normaliser=PerToken("valid"), auxiliary=(Smoothing(smooth),) if smooth else (), replicas=Nested(), share=1.0 - smooth,
    )  # fmt: skip
    about = traits(case.mask, logits.shape[-1])
    both, noised = objective.replicas.noise(objective, canvas, draws, about)
    main = losses(replace(objective, auxiliary=()), both, noised, logits, about).weighted
    return {
        "t": (noised.time[:, 0] * steps).round().long() - 1,
        "masks": noised.hit,
        "x_t": noised.tokens,
        "x_0_ignore": torch.where(noised.hit, both.tokens, -1),
        "vb_loss": main.mean(1),
        "diffusion_nll_loss": main.mean(),
        "diffusion_loss": losses(objective, both, noised, logits, about).loss,
    }
