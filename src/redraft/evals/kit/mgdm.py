"""HKUNLP/diffusion-vs-ar: src/llmtuner/tuner/mdm/trainer.py (MGDM)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...noise.absorbing import Absorbing
from ...objectives import Bernoulli, CrossEntropy, Full, Objective, PerToken, Shifted, Uniform
from ...objectives.bounds import Focal
from ...objectives.reached import Discrete
from ...objectives.steps import StepWeight
from ..conform_train import TrainCase
from ._recorded import RecordedDraws, as_uniform, flags, losses, rows, traits

WEIGHTS: dict[str, Any] = {"none": "none", "linear": "remaining", "original": "reciprocal"}


def train(case: TrainCase) -> dict[str, Tensor]:
    params = case.params
    steps = int(params.take("T"))
    focal = Focal(float(params.take("alpha")), float(params.take("gamma")))
    term = focal if params.take("token_reweighting", only=[True, False]) else CrossEntropy(subs=False)
    weight = StepWeight(steps, WEIGHTS[params.take("time_reweighting", only=list(WEIGHTS))])
    tokens, logits = case.take("input_ids"), case.take("raw_logits")
    step, move = case.draws("randint", "rand_like")
    canvas = rows(tokens, ~flags(case.take("src_mask")), tokens == tokens)
    objective = Objective(
        Absorbing(), Discrete(steps, Uniform(low=0.0)), Bernoulli(), Full(), Shifted("own"), term, weight, PerToken()
    )
    about = traits(case.mask, logits.shape[-1])
    noised = objective.corrupt(canvas, RecordedDraws({"time": as_uniform(step, steps), "mask": move}), about)
    return {
        "t": (noised.time[:, 0] * steps).round().long() - 1,
        "x_t": noised.tokens,
        "loss": losses(objective, canvas, noised, logits, about).loss,
    }
