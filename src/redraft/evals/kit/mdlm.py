"""kuleshov-group/mdlm: diffusion.py, noise_schedule.py and the network of models/dit.py."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor

from ...noise.absorbing import Absorbing, Clean
from ...noise.schedules import Geometric, GeometricRate, Linear, QuarterCosine, Schedule, staying
from ...objectives import Bernoulli, Bound, Constant, CrossEntropy, Flat, Full, Objective, PerToken, Stratified
from ...objectives.reached import Discrete, EvenInLogRate
from ...objectives.reweight import Decay, Fixed
from ...objectives.terms import Posterior, ScoreEntropy, subs
from ..conform import Mismatch
from ..conform_train import TrainCase, seeded
from ._recorded import RecordedDraws, answer, flags, losses, rows, traits, view

EPS = 1e-3
LOW = -1e6  # what the reference writes for minus infinity


def train(case: TrainCase) -> dict[str, Tensor]:
    if case.has("raw_logits"):
        return loss(case)
    if case.variant.startswith("schedules"):
        return schedules(case)
    if case.variant.startswith("sample_ddpm_argmax"):
        return sample(case)
    return network(case)


def schedules(case: TrainCase) -> dict[str, Tensor]:
    eps, t = float(case.entry("eps")), case.take("t")
    known: dict[str, Schedule] = {
        "CosineNoise": QuarterCosine(1.0, eps, eps),
        "CosineSqrNoise": QuarterCosine(2.0, eps, eps),
        "LogLinearNoise": Linear(eps),
        "GeometricNoise": Geometric(),
    }
    out: dict[str, Tensor] = {}
    for name in {n.partition("_")[0] for n in case.rest()} & set(known):
        schedule = known[name]
        # in float32 and by way of sigma, as the reference: near t = 0 its cosine weights are off by 1e-4
        sigma = schedule.sigma(t) if isinstance(schedule, Geometric) else -schedule.alpha(t).log()
        dsigma = -schedule.slope(t) / schedule.alpha(t)
        out[f"{name}_sigma"], out[f"{name}_dsigma"] = sigma, dsigma
        out[f"{name}_weight"] = dsigma / sigma.expm1()
        out[f"{name}_move_chance"] = Absorbing(schedule).rate(t)
    if case.has("LogLinear_importance_t"):
        times = EvenInLogRate(Stratified(1), eps)
        out["LogLinear_importance_t"] = times.of(t)
        ends = times.rate
        out["LogLinear_sigma_min"] = -torch.tensor(1.0 - ends.low).log()
        out["LogLinear_sigma_max"] = -torch.tensor(1.0 - ends.high).log()
    return out


def loss(case: TrainCase) -> dict[str, Tensor]:
    params = case.params
    form = params.take("parameterization", "subs", only=["subs", "d3pm", "sedd"])
    steps = int(params.take("T", 0))
    masked = params.take("subs_masking", False, only=[False, True])
    change = params.take("change_of_variables", False, only=[False, True])
    importance = params.take("importance_sampling", False, only=[False, True])
    stratified = params.take("antithetic_sampling", True, only=[False, True])
    eps = float(params.take("sampling_eps", EPS))
    params.take("time_conditioning", False, only=[False, True])  # what the network is told; its answer is recorded
    tokens, logits = case.take("x0"), case.take("raw_logits")
    valid = flags(case.take("attention_mask"))
    about = traits(case.mask, logits.shape[-1])
    drawn = case.draws("rand", "rand")
    draws = RecordedDraws({"time": drawn[0], "mask": drawn[1]})
    canvas = rows(tokens)

    plain = Stratified(len(tokens) if stratified else 1, low=eps, permuted=False)
    sampled = EvenInLogRate(plain) if importance else plain
    times = Discrete(steps, sampled) if steps else sampled
    weight: Bound | Fixed | Decay | Flat = Bound()
    term: CrossEntropy | Posterior | ScoreEntropy = CrossEntropy()
    if form == "sedd":
        weight, term = Decay(), ScoreEntropy()
    elif steps:
        weight, term = Flat(), Posterior(steps, subs=form == "subs" or masked)
    elif form == "d3pm":
        raise Mismatch("d3pm without steps (T) is not known here")
    elif change or importance:
        weight = Fixed(-torch.tensor(GeometricRate().low).log().item())  # without the upper end, as the reference
    objective = Objective(
        Absorbing(GeometricRate() if change else Linear(EPS)),
        times, Bernoulli(), Full(), term=term, weight=weight, normaliser=PerToken("valid"),
    )  # fmt: skip
    noised = objective.corrupt(canvas, draws, about)
    # the reference noises padding too, and leaves it out of the loss
    found = losses(objective, rows(tokens, valid, valid), noised, logits, about)
    nlls, total = found.weighted, found.loss
    if form == "d3pm":
        plainly = replace(
            objective, noise=Clean(), times=Constant(0.0), term=CrossEntropy(subs=masked), weight=Flat(), supervise="answer"
        )  # fmt: skip
        first = losses(plainly, rows(tokens, valid, valid), noised, case.take("raw_logits_t0"), about)
        nlls, total = nlls + first.weighted, total + first.loss
    out = {
        "t": sampled.draw(canvas, draws)[:, 0],
        "move_chance": noised.rate[:, :1],
        "xt": noised.tokens,
        "nlls": nlls,
        "loss": total,
    }
    if case.has("log_x_theta"):
        out["log_x_theta"] = subs(logits, noised.tokens, about.mask or 0).clamp_min(LOW)
    return out


def network(case: TrainCase) -> dict[str, Tensor]:
    """The network's logits, and the loss of one seeded batch."""
    case.entry("ckpt")
    mask, tokens, shown = case.mask, case.take("x0"), case.take("xt")
    model = case.case.model()
    out = {}
    for name in (n for n in case.rest() if n.startswith("logits_sigma")):
        out[name] = answer(model, view(Full(), rows(shown)), float(name.removeprefix("logits_sigma")))
    out["subs_log_probs"] = subs(answer(model, view(Full(), rows(shown))), shown, mask).clamp_min(LOW)
    with seeded(case.seed()):
        draws = RecordedDraws({"time": torch.rand(len(tokens)), "mask": torch.rand(tokens.shape)})
    objective = Objective(
        Absorbing(Linear(EPS)), Stratified(len(tokens), low=EPS, permuted=False), Bernoulli(), Full(), weight=Bound(), normaliser=PerToken()
    )  # fmt: skip
    canvas = rows(tokens)
    noised = objective.corrupt(canvas, draws, model.traits)
    found = losses(objective, canvas, noised, answer(model, view(Full(), canvas, noised)), model.traits)
    return out | {
        "train_move_chance": noised.rate[:, :1],
        "train_xt": noised.tokens,
        "train_loss_tok": found.weighted,
    }


def sample(case: TrainCase) -> dict[str, Tensor]:
    """Ancestral steps that take the likeliest outcome: 1 - alpha falls from t = 1 to eps in equal steps of t."""
    found = re.search(r"(\d+) steps, eps (\S+), no final noise removal", str(case.case.meta["reference"]["function"]))
    if found is None or case.entry("rng", "") is not None:
        raise Mismatch("this way of sampling is not known here (known: N steps, eps E, no final noise removal, no rng)")
    steps, eps = int(found[1]), float(found[2])
    case.entry("ckpt")
    mask, model, schedule = case.mask, case.case.model(), Linear(EPS)
    states = case.case.meta["states"]
    tokens = torch.full((len(states[0]), model.traits.context), mask)
    out = [tokens]
    grid = torch.linspace(1.0, eps, steps + 1)
    for i in range(steps):
        s = grid[i] - (1.0 - eps) / steps
        keep = staying(schedule, grid[i], s)
        chance = subs(answer(model, view(Full(), rows(tokens))), tokens, mask).exp() * (1.0 - keep)
        chance[..., mask] = keep
        tokens = torch.where(tokens == mask, chance.argmax(-1), tokens)
        out.append(tokens)
    return {"states": torch.stack(out)}
