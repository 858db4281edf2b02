"""ZHZisZZ/dllm: the losses of core/trainers/mdlm.py and bd3lm.py, Dream's CART weights, and core/schedulers."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ...noise.absorbing import Absorbing
from ...noise.schedules import Cosine, Linear, Schedule, staying
from ...objectives import (
    Aligned,
    CrossEntropy,
    Flat,
    Full,
    Noised,
    Normaliser,
    Objective,
    PerDocument,
    PerToken,
    Shifted,
    TwoStream,
    Uniform,
    Weight,
)
from ...objectives.reweight import Cart, Damped
from ..conform import Mismatch
from ..conform_train import TrainCase
from ._recorded import RecordedDraws, losses, rows, traits, view, whole

SCHEDULES: dict[str, Schedule] = {"linear": Linear(), "cosine": Cosine()}
NORMALISERS: dict[str, Normaliser] = {
    "token": PerToken("answer"),
    "sequence": PerDocument("answer"),
    "batch": PerDocument(None),
}


def train(case: TrainCase) -> dict[str, Tensor]:
    return loss(case) if case.has("raw_logits") else schedulers(case)


def schedulers(case: TrainCase) -> dict[str, Tensor]:
    t = case.take("t")
    canvas = rows(t.long()[None])
    out = {}
    for name, schedule in (
        ("LinearAlphaScheduler", SCHEDULES["linear"]),
        ("CosineAlphaScheduler", SCHEDULES["cosine"]),
    ):
        noise = Absorbing(schedule)
        noised = Noised(canvas.tokens, canvas.answer, t[None], noise.rate(t)[None])
        out[f"{name}_alpha"] = schedule.alpha(t)
        out[f"{name}_dalpha"] = schedule.slope(t)
        out[f"{name}_weight"] = Damped(1e-6).of(canvas, noised, noise)[0]
        out[f"{name}_reverse_mask_prob_s_half_t"] = staying(schedule, t, t / 2)
    return out


def loss(case: TrainCase) -> dict[str, Tensor]:
    params = case.params
    normaliser = NORMALISERS[params.take("loss_norm_type", only=list(NORMALISERS))]
    weight = weighting(params.take("loss_weight_type"))
    shift = params.take("right_shift_logits", only=[True, False])
    schedule = SCHEDULES[params.take("scheduler", "linear", only=list(SCHEDULES))]
    block, eps = whole(case, "block_size"), float(params.take("time_epsilon"))
    file = str(case.case.meta["reference"]["file"])
    if file not in ("dllm/core/trainers/mdlm.py", "dllm/core/trainers/bd3lm.py"):
        raise Mismatch(f"file {file!r} is not known here (known: dllm/core/trainers/mdlm.py, bd3lm.py)")
    tokens, labels, logits = case.take("input_ids"), case.take("labels"), case.take("raw_logits")
    answer = labels != -100
    if not torch.equal(tokens[answer], labels[answer]):
        raise Mismatch("labels differ from input_ids where they are learned")
    if file.endswith("bd3lm.py") and block > tokens.shape[1]:
        raise Mismatch(f"block_size: expected up to {tokens.shape[1]}, the length, found {block}")
    about = traits(case.mask, logits.shape[-1])
    first, second = case.draws("rand", "rand")
    draws = RecordedDraws({"time": first, "mask": second})
    ours = Objective(
        noise=Absorbing(schedule),
        times=Uniform(low=eps),
        layout=TwoStream(block) if file.endswith("bd3lm.py") else Full(),
        target=Shifted("own") if shift else Aligned(),
        term=CrossEntropy(subs=False),
        weight=weight,
        normaliser=normaliser,
    )
    canvas = rows(tokens, answer, torch.ones_like(answer))
    noised = ours.corrupt(canvas, draws, about)
    return {
        "model_input": view(ours.layout, canvas, noised).tokens,
        "loss": losses(ours, canvas, noised, logits, about).loss,
    }


def weighting(name: str) -> Weight:
    cart = re.fullmatch(r"cart(?:\[geo_p:(0\.\d+)\])?", name)
    if cart is not None:
        return Cart(float(cart[1] or 0.3))
    known: dict[str, Weight] = {"scheduler": Damped(1e-6), "uniform": Flat()}
    if name not in known:
        raise Mismatch(
            f"parameter loss_weight_type={name!r} is not known here (known: scheduler, uniform, cart[geo_p:P])"
        )
    return known[name]
