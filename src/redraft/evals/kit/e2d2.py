"""kuleshov-group/e2d2: src/denoiser/diffusion.py (E2D2) and src/noise_schedule."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...noise.absorbing import Absorbing
from ...noise.schedules import Linear, Logarithmic, PowerRate, QuarterCosine, Schedule
from ...objectives import Bernoulli, Bound, Flat, Objective, PerDocument, PerToken, Uniform
from ...objectives.encoder_decoder import EncoderDecoder
from ...objectives.resampled import SomeInEachBlock
from ...objectives.terms import subs
from ...objectives.view import CLEAN
from ..conform import Mismatch
from ..conform_train import TrainCase
from ._recorded import RecordedDraws, flags, limited, losses, rows, traits, view

LOW = -1e12  # what the reference writes for minus infinity


def train(case: TrainCase) -> dict[str, Tensor]:
    return loss(case) if case.has("raw_logits") else schedules(case)


def schedules(case: TrainCase) -> dict[str, Tensor]:
    """What calling each class returns: alpha and alpha'; ExponentialNoise returns them swapped, against its contract."""
    t = case.take("t")
    known: dict[str, Schedule] = {
        "CosineNoise": QuarterCosine(1.0, 1e-3, 0.0),
        "ExponentialNoise": PowerRate(2.0, 1e-3),
        "LogarithmicNoise": Logarithmic(),
        "LinearNoise": Linear(),
    }
    out: dict[str, Tensor] = {}
    for name in {n.partition("_")[0] for n in case.rest()} & set(known):
        both = [known[name].alpha(t), known[name].slope(t)]
        first, second = reversed(both) if name == "ExponentialNoise" else both
        out |= {f"{name}_ret0": first, f"{name}_ret1": second}
    return out


def loss(case: TrainCase) -> dict[str, Tensor]:
    params = case.params
    training = params.take("training", only=[True, False])
    trained, evaluated = int(params.take("block_size")), int(params.take("eval_block_size"))
    context = int(params.take("context"))
    case.entry("draw_order", "")
    tokens, logits = case.take("input_ids"), case.take("raw_logits")
    valid, prompt = flags(case.take("attention_mask")), flags(case.take("context_mask"))
    if int(prompt.sum(1).max()) != context:
        raise Mismatch(f"context_mask has up to {int(prompt.sum(1).max())} columns where params.context is {context}")
    block = trained if training else evaluated
    about = traits(case.mask, logits.shape[-1])
    first, second, *forced = case.draws()
    if forced and len(forced) != 2:
        raise Mismatch("expected a number and an order for the forced masks, found something else")
    if not training and first.shape[1] * block != tokens.shape[1]:
        # drawn as (rows, eval_block_size) whatever the length is
        raise Mismatch("the reference raises where eval_block_size^2 is not the length, found recorded values")
    numbers = {"time": first, "mask": second}
    if forced:
        # the reference compares the sorted order itself, not each column's place in it
        order = forced[1].view(len(tokens), -1, block).argsort(dim=-1, stable=True).flatten(1)
        numbers |= {"number": (forced[0] + 0.5) / block, "forced": order / block}
    draws = RecordedDraws(numbers)

    ours = Objective(
        noise=Absorbing(Linear()),
        times=Uniform(block, 0.0, 1.0),
        masking=SomeInEachBlock(block) if training else Bernoulli(),
        layout=EncoderDecoder(block),
        weight=Flat() if training else Bound(),
        normaliser=PerDocument("answer"),
    )
    noised = ours.corrupt(rows(tokens, ~prompt), draws, about)  # padding is noised too, and not learned
    draws.end()
    canvas = rows(tokens, valid & ~prompt, valid)
    inside = limited(noised, canvas)
    shown = view(ours.layout, canvas, inside)
    length = tokens.shape[1]
    whole = shown.mask() & shown.document.ge(0)[:, :, None]  # the reference's padding sees nothing, not even itself
    bound = replace(ours, weight=Bound(), normaliser=PerToken())
    return {
        "t": noised.time,
        "alpha_t": 1.0 - noised.rate,
        "xt": noised.tokens,
        "tokens_mask": canvas.answer,
        "encoder_mask": whole[:, shown.stream[0] == CLEAN][:, :, length:],
        "decoder_mask": whole[:, shown.stream[0] != CLEAN][:, :, torch.arange(2 * length).roll(length)],
        "log_probs": subs(logits, noised.tokens, about.mask or 0).clamp_min(LOW),
        "nlls": losses(bound, canvas, inside, logits, about).weighted,
        "loss": losses(ours, canvas, inside, logits, about).loss,
    }
