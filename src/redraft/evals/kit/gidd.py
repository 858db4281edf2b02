"""dvruette/gidd: gidd/diffusion_process.py and gidd/loss.py."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ...noise.absorbing import Absorbing
from ...noise.hybrid import Hybrid
from ...noise.schedules import Linear
from ...objectives import Bound, CrossEntropy, Noised, Objective, PerToken, Targets
from ...objectives.bounds import HybridBound
from ...objectives.steps import Lattice
from ..conform import Mismatch
from ..conform_train import TrainCase
from ._recorded import RecordedDraws, clean_or_mask, flags, losses, rows, traits

EPS = 1e-4
CLIP = 20.0  # the reference keeps p_uniform above e to the minus this


def train(case: TrainCase) -> dict[str, Tensor]:
    if case.variant.startswith("schedule"):
        return schedule(case)
    if case.variant.startswith("sample_t"):
        eps = float(case.setting("t_eps", EPS))
        times = Lattice(int(case.tensors["t"].shape[0]), eps, 1.0 - eps)
        (one,) = case.draws("rand")
        canvas = rows(torch.zeros(times.size, 1, dtype=torch.int64))
        return {"t": times.draw(canvas, RecordedDraws({"lattice": one.expand(times.size)}))[:, 0]}
    if case.variant.startswith("sample_zt"):
        return kernel(case)
    return absorbing(case) if case.variant.startswith("mdlm_loss") else loss(case)


def kernel(case: TrainCase) -> dict[str, Tensor]:
    """One draw of z_t; what the recording leaves out is as in the kit: p_uniform 0.2, gamma 1."""
    (chance,) = case.draws("rand")
    tokens, t, mask = case.take("x0"), case.take("t"), case.mask
    eps = float(case.setting("t_eps", EPS))
    if bool(((t < eps * 0.999) | (t > 1.0 - eps * 0.999)).any()):
        raise Mismatch(f"t: expected times from {eps} to {1.0 - eps}, found others")
    largest = max(int(tokens.max()), int(case.tensors["z_t"].max()), mask)
    vocab = int(case.setting("vocab_size", largest + 1))
    if vocab <= largest:
        raise Mismatch(f"vocab_size: expected more than the largest id, {largest}, found {vocab}")
    noise = Hybrid(
        float(case.setting("p_uniform", 0.2)),
        float(case.setting("gamma", 1.0)),
        floor(case.setting("clip_noise", CLIP)),
    )
    return {"z_t": noise.sample(tokens, t[:, None].expand(tokens.shape), chance, traits(mask, vocab))}


def floor(clip: float) -> float:
    """p_uniform is never below it."""
    return math.exp(-float(clip))


def noise_of(case: TrainCase) -> Hybrid:
    share, gamma = float(case.params.take("p_uniform")), float(case.params.take("gamma"))
    return Hybrid(share, gamma, floor(case.setting("clip_noise", CLIP)))


def schedule(case: TrainCase) -> dict[str, Tensor]:
    noise, t = noise_of(case), case.take("t")
    share = float(case.params.take("effective_p_uniform"))
    if not math.isclose(share, noise.share, rel_tol=1e-6):
        raise Mismatch(f"effective_p_uniform: expected {share}, found {noise.share}")
    return {
        "alpha": noise.alpha(t)[:, None],
        "beta_pi": noise.beta(t, traits(case.mask, int(case.entry("vocab_size")))),
        "log_B": torch.tensor(noise.scale).log(),
        "log_gamma": torch.tensor(noise.gamma).log(),
    }


def inputs(case: TrainCase) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Clean tokens, noised ones, times (B, T), logits, and the metrics' mask."""
    tokens, time = case.take("x0"), case.take("t")
    seen, logits = case.take("z_t"), case.take("raw_logits")
    return tokens, seen, time[:, None].expand(tokens.shape), logits, flags(case.take("attention_mask"))


def loss(case: TrainCase) -> dict[str, Tensor]:
    noise, params = noise_of(case), case.params
    weights: Any = params.take("loss_weighting", only=["none", "clip", "dynamic"])
    term = HybridBound(weights, float(params.take("min_loss_weight")), float(params.take("max_loss_weight")))
    tokens, seen, time, logits, measured = inputs(case)
    about = traits(case.mask, int(case.entry("vocab_size")))
    objective = Objective(noise, term=term, normaliser=PerToken("answer"), supervise="answer")
    canvas = rows(tokens)
    noised = Noised(seen, seen != tokens, time, noise.rate(time))
    found = losses(objective, canvas, noised, logits, about)
    flat = Targets(
        tokens.flatten(), seen.flatten(), time.flatten(), noised.rate.flatten(), noised.hit.flatten(), noise, about
    )
    kl, ratio = (x.view(tokens.shape) for x in term.divergences(logits.flatten(0, 1), flat))
    weight, bound = (f(flat).float().view(tokens.shape) for f in (term.weight, term.bound))
    clean = torch.nn.functional.one_hot(tokens, about.vocab).float()
    p = logits.index_fill(-1, torch.tensor([case.mask]), torch.finfo(logits.dtype).min).softmax(-1)

    def mean(value: Tensor, by: Tensor) -> Tensor:
        return (value * by * measured).sum() / (by * measured).sum()

    elbo = bound * (kl + ratio)
    return {
        "alpha_ratio": noise.alpha_ratio(time[:, :1]),
        "elbo_weights": bound,
        "loss_weights": weight,
        "loss_tok": found.weighted,
        "elbo_tok": elbo,
        "loss": found.loss,
        "metric_elbo": mean(elbo, torch.ones_like(elbo)),
        "metric_kl": mean(kl, weight),
        "metric_is": mean(ratio, weight),
        "q_x": noise.distribution(clean, time, about),
        "q_xhat": noise.distribution(p, time, about),
    }


def absorbing(case: TrainCase) -> dict[str, Tensor]:
    tokens, seen, time, logits, _ = inputs(case)
    clean_or_mask("z_t", seen, tokens, case.mask)
    noise = Absorbing(Linear(EPS))
    objective = Objective(noise, term=CrossEntropy(), weight=Bound(), normaliser=PerToken("answer"))
    noised = Noised(seen, seen == case.mask, time, noise.rate(time))
    found = losses(objective, rows(tokens), noised, logits, traits(case.mask, logits.shape[-1]))
    alpha = noise.schedule.alpha(time[:, 0])
    return {
        "sigma": -alpha.log(),
        "dsigma": -noise.schedule.slope(time[:, 0]) / alpha,
        "elbo_tok": found.weighted,
        "loss": found.loss,
    }
