"""kuleshov-group/bd3lms: diffusion.py, noise_schedule.py and the two-stream network of models/dit.py."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ...noise.absorbing import Absorbing
from ...noise.schedules import Linear, Logarithmic, PowerRate, QuarterCosine, Schedule
from ...objectives import (
    Bernoulli,
    Bound,
    Constant,
    Flat,
    Full,
    Masking,
    Noised,
    Objective,
    PerToken,
    Stratified,
    TwoStream,
    Weight,
)
from ...objectives.resampled import Resampled
from ...objectives.reweight import Damped
from ..conform import Mismatch
from ..conform_train import TrainCase, seeded
from ._recorded import RecordedDraws, answer, flags, limited, losses, plain, rows, traits, view
from .masks import each, two_stream

EPS = 1e-3


def train(case: TrainCase) -> dict[str, Tensor]:
    if case.has("raw_logits"):
        return loss(case)
    kinds = {"masks": masks, "schedules": schedules, "strata_bias": strata, "train": network}
    for name, kind in kinds.items():
        if case.variant.startswith(name):
            return kind(case)
    raise Mismatch(f"variant {case.variant!r} is not known here (known: a loss, {', '.join(kinds)})")


def masks(case: TrainCase) -> dict[str, Tensor]:
    """mask_L<length>_B<block>: noised columns, then clean ones."""
    if case.entry("mask_id", "") not in ("", None):
        raise Mismatch("a case of masks needs no mask_id")
    return each(case, r"mask_L(\d+)_B(\d+)", lambda m: two_stream(int(m[1]), int(m[2])))


def schedules(case: TrainCase) -> dict[str, Tensor]:
    eps, t = float(case.entry("eps")), case.take("t")
    known: dict[str, tuple[Schedule, Weight]] = {
        "loglinear": (Linear(), Bound()),
        "square": (PowerRate(2.0, eps), Bound()),
        "square_root": (PowerRate(0.5, eps), Bound()),
        "log": (Logarithmic(), Bound()),
        "cosine": (QuarterCosine(1.0, eps, 0.0), Damped(eps)),
    }
    canvas = rows(t.long()[None])
    out: dict[str, Tensor] = {}
    for name in {re.sub(r"_(loss_scale|move_chance)$", "", n) for n in case.rest()} & set(known):
        noise, weight = Absorbing(known[name][0]), known[name][1]
        noised = Noised(canvas.tokens, canvas.answer, t[None], noise.rate(t)[None])
        out[f"{name}_loss_scale"] = -weight.of(canvas, noised, noise)[0]
        out[f"{name}_move_chance"] = noised.rate[0]
    return out


def objective(block: int, batch: int, length: int, low: float, high: float, resample: bool, eps: float) -> Objective:
    """Diffusion._loss. eps: of the log-linear schedule, 0 for bd3lms's own and 1e-3 for mdlm_loss_scale."""
    masking: Masking = Bernoulli()
    if resample and (low, high) != (EPS, 1.0):
        masking = Resampled(
            block, 0.0 if low == EPS else low, high
        )  # a bound that is the schedule's end bounds nothing
    spread = Stratified(batch, block, length // block, low, high, permuted=False)
    return Objective(
        noise=Absorbing(Linear(eps)),
        times=Constant(1.0) if low >= 1 and high >= 1 else spread,
        masking=masking,
        layout=TwoStream(block),
        weight=Flat() if low > 0.5 else Bound(),
        normaliser=PerToken("valid"),
    )


def loss(case: TrainCase) -> dict[str, Tensor]:
    params = case.params
    low, high = float(params.take("sampling_eps_min")), float(params.take("sampling_eps_max"))
    block = int(params.take("block_size"))
    resample = bool(params.take("resample", only=[True, False]))
    ignore_bos, training = params.take("ignore_bos", only=[True, False]), params.take("training", only=[True, False])
    mdlm_scale = params.take("mdlm_loss_scale", False, only=[True, False])
    case.entry("draw_order", "")
    tokens, logits, valid = case.take("x0"), case.take("raw_logits"), flags(case.take("attention_mask"))
    about = traits(case.mask, logits.shape[-1])
    batch, length = tokens.shape
    first, second, *more = case.draws()
    if first.shape != (batch, length // block) or length % block:
        raise Mismatch(f"expected a first draw ({batch}, {length}/{block}), found {tuple(first.shape)}")
    number = {f"mask.{i + 1}": draw for i, draw in enumerate(more)}
    draws = RecordedDraws({"time": first, "mask": second, **number})
    ours = objective(block, batch, length, low, high, resample, EPS if mdlm_scale else 0.0)
    noised = ours.corrupt(rows(tokens), draws, about)
    if isinstance(ours.times, Constant):
        draws.used.add("time")
    draws.end()
    answers = torch.ones_like(valid)
    if ignore_bos:
        answers[:, 0] = False
        if not training:
            valid = valid & answers
    canvas = rows(tokens, valid & answers, valid)
    found = losses(ours, canvas, limited(noised, rows(tokens, answers)), logits, about)
    return {  # xt as it was before the first token was put back
        "xt": noised.tokens,
        "p": noised.rate[:, :1] if block == length else noised.rate,
        "nlls": found.weighted,
        "loss": found.loss,
    }


def strata(case: TrainCase) -> dict[str, Tensor]:
    """Means of 4000 batches after torch.manual_seed(0); what the recording calls a bug is `permuted=False`."""
    out = {}
    for name in case.rest():
        found = re.fullmatch(r"mean_t_per_block_batch(\d+)", name)
        if found is None:
            continue
        batch, blocks, repeats = int(found[1]), len(case.tensors[name]), 4000
        canvas = rows(torch.zeros(batch * repeats, blocks, dtype=torch.int64))
        with seeded(0):
            draws = RecordedDraws({"time": torch.cat([torch.rand(batch, blocks) for _ in range(repeats)])})
        times = Stratified(batch, 1, blocks, permuted=False).draw(canvas, draws)
        out[name] = times.view(repeats, batch, blocks).mean((0, 1))
    return out


def network(case: TrainCase) -> dict[str, Tensor]:
    """The network's logits on both streams and on the noised one alone, and the losses of seeded batches."""
    case.entry("ckpt")
    seed, mask, block, length = case.seed(), case.mask, int(case.entry("block_size")), int(case.entry("model_length"))
    model = case.case.model()
    if (model.traits.mask, model.traits.block, model.traits.context) != (mask, block, length):
        raise Mismatch("mask_id, block_size or model_length is not the checkpoint's")
    tokens, shown = case.take("x0"), case.take("xt")
    canvas, width = rows(tokens), tokens.shape[1]

    def noised_half(noised: Noised) -> Tensor:
        return answer(model, view(TwoStream(block), canvas, noised))[:, :width]

    out = {}
    for name in case.rest():
        bounds = re.fullmatch(r"train_(?:full|clip([.\d]+)_([.\d]+))(_resample)?_xt", name)
        part = re.fullmatch(r"logits_sample_mode_(?:full|prefix(\d+))", name)
        if name == "logits_train":
            out[name] = noised_half(plain(shown))
        elif part is not None:
            out[name] = answer(model, view(Full(block), rows(shown[:, : int(part[1] or width)])))
        elif bounds is not None:
            low, high = (float(b) if b else end for b, end in zip(bounds.groups()[:2], (EPS, 1.0), strict=True))
            ours = objective(block, len(tokens), width, low, high, bool(bounds[3]), 0.0)
            with seeded(seed):
                first = {"time": torch.rand(len(tokens), width // block)}
                drawn = {f"mask.{i}": torch.rand(tokens.shape) for i in range(100)}
            noised = ours.corrupt(canvas, RecordedDraws({**first, **drawn, "mask": drawn["mask.0"]}), model.traits)
            found = losses(ours, canvas, noised, noised_half(noised), model.traits)
            stem = name.removesuffix("xt")
            out |= {f"{stem}xt": noised.tokens, f"{stem}p": noised.rate, f"{stem}loss_tok": found.weighted}
    return out
