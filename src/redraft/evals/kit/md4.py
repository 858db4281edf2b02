"""google-deepmind/md4: md4/models/diffusion/md4.py and genmd4.py (JAX)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...core.traits import Traits
from ...noise.absorbing import Absorbing
from ...noise.schedules import Cosine, Polynomial, Schedule, weight
from ...objectives import Bound, CrossEntropy, Noised, Objective, PerDocument
from ...objectives.bounds import DiscreteBound, unmasked_at_start
from ...objectives.learned import TokenPowers, density, first_step, leave_one_out, log_mask_probability, masked
from ...objectives.reached import Discrete
from ..conform import Mismatch
from ..conform_train import Rounded, TrainCase
from ._recorded import losses, rows

EPS, FIRST = 1e-4, 1e-3
ULP = 2.0**-23


def schedule_of(name: str) -> Schedule:
    if name == "cosine":
        return Cosine(EPS)
    if name == "linear":
        return Polynomial(1.0, EPS)
    if name.startswith("poly") and name[4:].isdigit():
        return Polynomial(float(name[4:]), EPS)
    raise Mismatch(f"schedule {name!r} is not known here (known: linear, cosine, poly<k>)")


def train(case: TrainCase) -> dict[str, Tensor | Rounded]:
    if case.variant.startswith("schedules"):
        return schedules(case)
    return learned(case) if case.variant.startswith("genmd4") else loss(case)


def schedules(case: TrainCase) -> dict[str, Tensor | Rounded]:
    if float(case.entry("eps")) != EPS:
        raise Mismatch(f"eps is not known here (known: {EPS})")
    t = case.take("t")
    out: dict[str, Tensor | Rounded] = {}
    for name in {n.partition("_")[0] for n in case.rest()}:
        schedule = schedule_of(name)
        alpha = schedule.alpha(t)
        # log alpha and log(1 - alpha) are taken of float32 numbers next to one
        out |= {
            f"{name}_alpha": alpha,
            f"{name}_dalpha": schedule.slope(t),
            f"{name}_weight": -weight(schedule, t),
            f"{name}_logsnr": Rounded((alpha / (1.0 - alpha)).log(), ULP / (1.0 - alpha) + ULP / alpha),
        }
        for whole in (n for n in case.rest() if n.startswith(f"{name}_discrete_T")):
            steps = int(whole.removeprefix(f"{name}_discrete_T").removesuffix("_weight"))
            out[whole] = discrete(schedule, t, steps)
    return out


def discrete(schedule: Schedule, t: Tensor, steps: int) -> Rounded:
    """The difference of two nearly equal log ratios, times steps: the last bit of alpha is steps of it in the weight."""
    now, before = schedule.alpha(t), schedule.alpha(t - 1.0 / steps)
    size = (now / (1.0 - now)).log().abs() + (before / (1.0 - before)).log().abs()
    value = -DiscreteBound(steps).at(schedule, t)
    error = steps * ULP * (2 * before * (size + 1.0) + 1.0 / (1.0 - now))
    return Rounded(value, torch.minimum(error, 3e-4 * value.abs()))


def loss(case: TrainCase) -> dict[str, Tensor | Rounded]:
    params = case.params
    schedule, steps = schedule_of(params.take("schedule")), int(params.take("timesteps"))
    continuous = params.take("cont_time", only=[True, False])
    tokens, seen, t, logits = case.take("x"), case.take("zt"), case.take("t"), case.take("raw_logits")
    # the logits have no entry for the mask, whose id follows the vocabulary
    about = Traits(mask=None, eos=(), vocab=logits.shape[-1])
    noise = Absorbing(schedule)
    time = (t if continuous else Discrete(steps).of(t))[:, None].expand(tokens.shape)
    objective = Objective(
        noise,
        term=CrossEntropy(),
        weight=Bound() if continuous else DiscreteBound(steps),
        normaliser=PerDocument(None),
    )
    noised = Noised(seen, seen == case.mask, time, noise.rate(time))
    found = losses(objective, rows(tokens), noised, logits, about)
    grid = case.tensors["sampling_grid_cosine_s_t"].shape[0]
    ends = torch.cos(math.pi / 2 * torch.linspace(0.0, 1.0, grid + 1, dtype=torch.float64))
    return {
        "loss_diff": found.weighted.sum(1),
        "loss_recon": unmasked_at_start(schedule, tokens.shape[1], about.vocab),
        "sampling_grid_cosine_s_t": torch.stack((ends[1:], ends[:-1]), 1),
    }


def learned(case: TrainCase) -> dict[str, Tensor | Rounded]:
    tokens, t, logits = case.take("x"), case.take("t"), case.take("raw_logits")
    if case.mask < logits.shape[-1]:
        raise Mismatch(f"expected a mask behind the {logits.shape[-1]} tokens, found {case.mask}")
    powers = TokenPowers(logits.shape[-1]).double()
    powers.raw.data = case.take("raw_w").double()
    shape = tokens.shape
    with torch.enable_grad():
        w = powers()
        every = masked(t.double()[:, None], w, EPS)
        rate = every.gather(1, tokens)
        found, log_q = [], []
        for name in ("zt_1", "zt_2"):
            hit = case.take(name) == case.mask
            time = t.double()[:, None].expand(shape).flatten()
            each = density(logits.double().flatten(0, 1), tokens.flatten(), time, w).view(shape)
            found.append((each * hit).sum(1))
            log_q.append(log_mask_probability(rate, hit).sum(1))
        estimate = leave_one_out((found[0], found[1]), (log_q[0], log_q[1]))
        (grad,) = torch.autograd.grad(estimate.mean(), powers.raw)
    values = [x.detach() for x in (*found, *log_q)]
    # the difference of two sums, each rounded once a column
    rounding = ULP * (values[0].abs() + values[1].abs()) * (values[2] - values[3]).abs()
    w, every = w.detach(), every.detach()
    return {
        "w": w.float(),
        "alpha": 1.0 - every.float(),
        "dalpha": (-every * w / t.double()[:, None]).float(),
        "weight": (-w / t.double()[:, None]).float(),
        "loss_diff_1": values[0].float(),
        "loss_diff_2": values[1].float(),
        "rloo": Rounded(estimate.detach().float(), rounding.float()),
        "loss_recon": first_step(tokens, w.float(), FIRST, EPS).sum(1),
        "grad_rloo_mean_wrt_raw_w": Rounded(grad.float(), (rounding.sum() * torch.ones_like(grad)).float()),
    }
