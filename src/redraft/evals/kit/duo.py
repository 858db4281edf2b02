"""s-sahoo/duo: trainer_base.py, algo.py and utils.py."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...core.traits import Traits
from ...noise.absorbing import Absorbing
from ...noise.gaussian import Gaussian, argmax_probability
from ...noise.schedules import Cosine, Linear, Schedule, Shortened
from ...noise.uniform import Uniform, posterior
from ...objectives import Bernoulli, Bound, Full, Noised, Objective, PerToken, Stratified
from ...objectives.bounds import UniformBound, uniform_bound
from ...objectives.relaxed import Relaxed
from ..conform import Mismatch
from ..conform_train import TrainCase
from ._recorded import RecordedDraws, as_uniform, flags, losses, rows, traits, whole

EPS = 1e-3
RANGES = {"curric": (-3.5, -1.75), "distill": (-4.0, -1.0)}  # gammas of the curriculum and of the distillation


def train(case: TrainCase) -> dict[str, Tensor]:
    kinds = {
        "alpha_map": alpha_map,
        "integral_cache_gpt2": nearest,
        "integral_cache": table,
        "schedules": schedules,
        "nll_per_token": density,
        "sample_t": strata,
        "curriculum_simple": curriculum,
        "mdlm_loss": loss,
        "udlm_loss": loss,
    }
    for name, kind in kinds.items():
        if case.variant.startswith(name):
            return kind(case)
    raise Mismatch(f"variant {case.variant!r} is not known here (known: {', '.join(kinds)})")


def vocab_of(case: TrainCase) -> int:
    found = re.search(r"_V(\d+)", case.variant)
    if found is None:
        raise Mismatch(f"expected a variant that ends in _V and the vocabulary's size, found {case.variant!r}")
    return int(found[1])


def sized(case: TrainCase, logits: Tensor) -> int:
    """The recorded vocab_size, which is that of the logits."""
    vocab = int(case.entry("vocab_size"))
    if vocab != logits.shape[-1]:
        raise Mismatch(f"vocab_size: expected that of the logits, {logits.shape[-1]}, found {vocab}")
    return vocab


def uniform_traits(vocab: int) -> Traits:
    return Traits(mask=None, eos=(), vocab=vocab, noise="uniform")


def alpha_map(case: TrainCase) -> dict[str, Tensor]:
    vocab, gamma = vocab_of(case), case.take("gamma")
    p, slope = argmax_probability(gamma, vocab)
    out = {
        "pt": p,
        "grad_pt": slope,
        "dpt_dgamma_finite_difference": slope,
        "alpha": (vocab * p - 1) / (vocab - 1),
        "dalpha_dgamma": slope * vocab / (vocab - 1),
    }
    for name, (low, high) in RANGES.items():
        t = case.take(f"{name}_t")
        noise = Gaussian(low, high, vocab)
        power = replace(noise, map="series")
        out |= {
            f"{name}_gamma": noise.gamma(t),
            f"{name}_series_alpha": power.alpha(t),
            f"{name}_series_dalpha_dt": power.slope(t),
            f"{name}_quad_alpha": noise.alpha(t),
            f"{name}_fd_dalpha_dt": noise.slope(t),
        }
    return out


def table(case: TrainCase) -> dict[str, Tensor]:
    vocab, gamma = vocab_of(case), case.take("gamma")
    p, slope = argmax_probability(gamma, vocab)
    last = Gaussian(high=RANGES["curric"][1], vocab=vocab)
    return {"pt": p.float(), "grad_pt": slope.float(), "prior_loss_at_gamma_max": last.prior_loss()}


def nearest(case: TrainCase) -> dict[str, Tensor]:
    vocab, points = int(case.entry("vocab_size")), int(case.entry("num_points"))
    low, high = float(case.entry("gamma_min")), float(case.entry("gamma_max"))
    gamma = case.take("gamma")
    index = ((points - 1) * (gamma - low) / (high - low)).round().long()
    p, slope = argmax_probability(low + index * (high - low) / (points - 1), vocab)
    return {"index": index, "pt": p, "grad_pt": slope, "pt_quad": argmax_probability(gamma, vocab)[0].float()}


def schedules(case: TrainCase) -> dict[str, Tensor]:
    eps, t = float(case.entry("eps")), case.take("t")
    out: dict[str, Tensor] = {}
    inner: dict[str, Any] = {"LogLinear": Linear(), "Cosine": Cosine()}
    for name, plain in inner.items():
        schedule: Schedule = Shortened(plain, eps)
        coded = Linear(eps) if name == "LogLinear" else Shortened(plain, eps, bare=True)
        out |= {
            f"{name}_alpha": schedule.alpha(t),
            f"{name}_dalpha": coded.slope(t),
            f"{name}_dalpha_autograd": schedule.slope(t),
            f"{name}_get_t_for_alpha": plain.time(schedule.alpha(t)),  # of the schedule without eps
        }
    return out


def loss(case: TrainCase) -> dict[str, Tensor]:
    """TrainerBase._loss: times stratified over the batch, the sum by the number of valid tokens."""
    absorbing = case.variant.startswith("mdlm_loss")
    tokens, logits = case.take("x0"), case.take("raw_logits")
    vocab = sized(case, logits)
    times = Stratified(len(tokens), low=EPS, permuted=False)
    every, valid = rows(tokens), flags(case.take("valid_tokens"))
    if absorbing:
        time, move = case.draws("rand", "rand")
        draws, about = RecordedDraws({"time": time, "mask": move}), traits(case.mask, vocab)
        objective = Objective(
            Absorbing(Linear(EPS)), times, Bernoulli(), Full(), weight=Bound(), normaliser=PerToken("valid")
        )
    else:
        time, move, token = case.draws("rand", "rand", "randint")
        about = uniform_traits(vocab)
        draws = RecordedDraws({"time": time, "mask": move, "token": as_uniform(token, vocab)})
        objective = Objective(
            Uniform(Linear(EPS)), times, Bernoulli(), Full(), term=UniformBound(), normaliser=PerToken("valid"),
            supervise="answer",
        )  # fmt: skip
    noised = objective.corrupt(every, draws, about)
    found = losses(objective, rows(tokens, valid, valid), noised, logits, about)
    return {
        "xt": noised.tokens,
        "alpha_t": 1.0 - noised.rate[:, :1],
        "nlls_sum": found.weighted.sum(),
        "loss": found.loss,
        "num_tokens": valid.sum().float(),
    }


def density(case: TrainCase) -> dict[str, Tensor]:
    """DUO_BASE.nll_per_token in float32 and float64, and the posterior."""
    t, schedule = case.take("t"), Linear(EPS)
    tokens, seen, logits = case.take("x0"), case.take("xt"), case.take("raw_logits")
    vocab = sized(case, logits)
    alpha, slope, before = schedule.alpha(t)[:, None], schedule.slope(t)[:, None], case.take("alpha_s")
    time = t[:, None].expand(tokens.shape)
    noise = Uniform(schedule)
    objective = Objective(noise, term=UniformBound(), normaliser=PerToken("answer"), supervise="answer")
    noised = Noised(seen, seen != tokens, time, noise.rate(time))
    wide = logits.double().softmax(-1)
    a, da = (x.double().expand(tokens.shape) for x in (alpha, slope))
    exact = uniform_bound(wide.flatten(0, 1), tokens.flatten(), seen.flatten(), a.flatten(), da.flatten())
    return {
        "alpha_t": alpha,
        "dalpha_t": slope,
        "nll_tok": losses(objective, rows(tokens), noised, logits, uniform_traits(vocab)).weighted,
        "nll_tok_float64": exact.view(tokens.shape),
        "posterior": posterior(wide, seen, before.double().expand(tokens.shape), a),
    }


def strata(case: TrainCase) -> dict[str, Tensor]:
    """One batch's times on several nodes (node 0's), devices and accumulation steps: a document's time is its own."""
    u = case.take("u")
    size = len(u)
    times, out = Stratified(size, low=EPS, permuted=False), {}
    for name in case.rest():
        found = re.fullmatch(r"nodes(\d+)_dev(\d+)_acc(\d+)_rank(\d+)_step(\d+)", name)
        if found is None:
            raise Mismatch(f"tensor {name} is not known here")
        nodes, devices, steps, rank, step = map(int, found.groups())
        mine = torch.arange(size).chunk(nodes)[0].chunk(devices)[rank].chunk(steps)[step]
        canvas = replace(rows(torch.zeros(len(mine), 1, dtype=torch.int64)), sample=mine[:, None])
        out[name] = times.draw(canvas, RecordedDraws({"time": u[mine]}))[:, 0]
    return out


def curriculum(case: TrainCase) -> dict[str, Tensor]:
    """DUO.nll before the curriculum's end: soft inputs, the loss at the hard tokens."""
    params, tokens, logits = case.params, case.take("x0"), case.take("raw_logits")
    vocab = sized(case, logits)
    cache = re.search(r"V=(\d+), (\d+) points", str(case.case.meta["reference"]["function"]))
    if cache is None or int(cache[1]) != vocab:
        raise Mismatch("expected a reference that names its integral cache as V=<size>, <n> points")
    noise = Gaussian(
        float(params.take("gamma_min")), float(params.take("gamma_max")), vocab, map="nearest", points=int(cache[2])
    )
    first, last = params.take("tau_log10")
    start, end, step = int(params.take("start")), int(params.take("end")), int(params.take("step"))
    if step > end:
        raise Mismatch(f"step {step} is behind the curriculum, which ends at {end}: the loss is then another one")
    share = min(max((step - start) / (end - start), 0.0), 1.0)
    replicas = Relaxed(first + share * (last - first) if step < end else -10.0)
    if abs(10.0**-replicas.log10_tau / float(params.take("inverse_tau")) - 1.0) > 1e-6:
        raise Mismatch(f"inverse_tau is not that of step {step}: found {10.0**-replicas.log10_tau}")
    whole(case, "top_k")  # of the other, approximate mode
    time, gauss = case.draws("rand", "randn")
    times = Stratified(len(tokens), low=EPS, permuted=False).draw(rows(tokens), RecordedDraws({"time": time}))
    w = noise.mixed(tokens, times, gauss)
    hard = w.argmax(-1)
    objective = Objective(noise, term=UniformBound(), normaliser=PerToken("answer"), supervise="answer")
    noised = Noised(hard, hard == hard, times, noise.rate(times), replicas.weights(w))
    found = losses(objective, rows(tokens), noised, logits, uniform_traits(vocab))
    one = times[:, :1]
    return {
        "model_input": replicas.scaled(w),
        "soft_input": replicas.weights(w),
        "xt_hard": hard,
        "alpha_t": noise.alpha(one),
        "dalpha_t": noise.slope(one),
        "sigma": -noise.alpha(one).log(),
        "nll_tok": found.weighted,
        "loss": found.loss,
    }
