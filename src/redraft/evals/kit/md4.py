"""google-deepmind/md4: md4/models/diffusion/md4.py and genmd4.py (JAX)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...core.traits import Traits
from ...noise.absorbing import Absorbing
from ...noise.schedules import Cosine, Polynomial, weight
from ...objectives import Bound, CrossEntropy, Noised, Objective, PerDocument
from ...objectives.bounds import DiscreteBound, unmasked_at_start
from ...objectives.learned import TokenPowers, density, first_step, leave_one_out, log_mask_probability, masked
from ...objectives.reached import Discrete
from ..conform import Mismatch
from ..conform_train import Rounded, TrainCase
from ._recorded import clean_or_mask, losses, rows

EPS, FIRST = 1e-4, 1e-3
ULP = 2.0**-23


def schedule_of(name: str, eps: float = EPS) -> Cosine | Polynomial:
    if name == "cosine":
        return Cosine(eps)
    if name == "linear":
        return Polynomial(1.0, eps)
    if name.startswith("poly") and name[4:].isdigit():
        return Polynomial(float(name[4:]), eps)
    raise Mismatch(f"schedule {name!r} is not known here (known: linear, cosine, poly<k>)")


def train(case: TrainCase) -> dict[str, Tensor | Rounded]:
    if case.variant.startswith("schedules"):
        return schedules(case)
    return learned(case) if case.variant.startswith("genmd4") else loss(case)


def schedules(case: TrainCase) -> dict[str, Tensor | Rounded]:
    eps, t = float(case.setting("eps", EPS)), case.take("t")
    out: dict[str, Tensor | Rounded] = {}
    for name in {n.partition("_")[0] for n in case.rest()}:
        schedule = schedule_of(name, eps)
        alpha = alphas(schedule, t)
        out |= {
            f"{name}_alpha": Rounded(alpha[0], (alpha - alpha[0]).abs().amax(0)),
            f"{name}_dalpha": schedule.slope(t),
            f"{name}_weight": -weight(schedule, t),
            f"{name}_logsnr": logsnr(alpha),
        }
        for whole in (n for n in case.rest() if n.startswith(f"{name}_discrete_T")):
            steps = int(whole.removeprefix(f"{name}_discrete_T").removesuffix("_weight"))
            out[whole] = discrete(schedule, t, steps)
    return out


def discrete(schedule: Cosine | Polynomial, t: Tensor, steps: int) -> Rounded:
    """-steps alpha_s expm1(logsnr_t - logsnr_s): a difference of two nearly equal numbers, each off by its own rounding."""
    before = t - 1.0 / steps
    one, two = logsnr(alphas(schedule, t)), logsnr(alphas(schedule, before))
    size = steps * schedule.alpha(before) * (one.value - two.value).exp()
    return Rounded(-DiscreteBound(steps).at(schedule, t), size * (one.error + two.error))


def alphas(schedule: Cosine | Polynomial, t: Tensor) -> Tensor:
    """(3, ...) alpha in float32 as the reference computes it, and with the power or cosine one unit of the last place lower
    and higher, as another library may round it; a square and the time itself are the same everywhere."""
    power = schedule.power if isinstance(schedule, Polynomial) else 0.0
    inner = t**power if power else torch.cos(math.pi / 2 * (1.0 - t))
    exact = power in (1.0, 2.0)
    beside = [inner if exact else inner.nextafter(torch.full_like(inner, end)) for end in (-math.inf, math.inf)]
    made = [(1.0 - 2 * schedule.eps) * (1.0 - x) + schedule.eps for x in beside]
    return torch.stack([schedule.alpha(t), *made])


def logsnr(alpha: Tensor) -> Rounded:
    """log alpha / (1 - alpha) of `alphas`: off by what alpha is, and by one unit of the logarithm's last place."""
    each = (alpha / (1.0 - alpha)).log()
    return Rounded(each[0], (each - each[0]).abs().amax(0).nan_to_num(0.0) + ULP * each[0].abs())


def loss(case: TrainCase) -> dict[str, Tensor | Rounded]:
    params = case.params
    schedule = schedule_of(params.take("schedule"), float(case.setting("eps", EPS)))
    steps = int(params.take("timesteps"))
    continuous = params.take("cont_time", only=[True, False])
    tokens, seen, t, logits = case.take("x"), case.take("zt"), case.take("t"), case.take("raw_logits")
    clean_or_mask("zt", seen, tokens, case.mask)
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
    angle = math.pi / 2 * torch.linspace(0.0, 1.0, grid + 1, dtype=torch.float64)
    ends, off = angle.cos(), ULP / 2 * angle * angle.sin()  # of an angle rounded to float32
    bound = torch.zeros(len(tokens))
    if not continuous:  # ours is exact, the reference's weight is not
        coded = discrete(schedule, time, steps)
        exact = -DiscreteBound(steps).of(rows(tokens), noised, noise)
        bound = (found.each.abs() * ((coded.value - exact).abs() + coded.error)).sum(1)
    start = unmasked_at_start(schedule, tokens.shape[1], about.vocab)
    return {
        "loss_diff": Rounded(found.weighted.sum(1), bound),
        # 1 - alpha(0) is eps, of an alpha whose last place is 2^-24
        "loss_recon": Rounded(start, torch.tensor(ULP / 2 * tokens.shape[1] * math.log(about.vocab))),
        "sampling_grid_cosine_s_t": Rounded(torch.stack((ends[1:], ends[:-1]), 1), torch.stack((off[1:], off[:-1]), 1)),
    }


def learned(case: TrainCase) -> dict[str, Tensor | Rounded]:
    tokens, t, logits = case.take("x"), case.take("t"), case.take("raw_logits")
    if case.mask < logits.shape[-1]:
        raise Mismatch(f"expected a mask behind the {logits.shape[-1]} tokens, found {case.mask}")
    for name in ("zt_1", "zt_2"):
        clean_or_mask(name, case.take(name), tokens, case.mask)
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
        (grad,) = torch.autograd.grad(estimate.mean(), powers.raw, retain_graph=True)
        difference = log_q[0] - log_q[1]
        slopes = [torch.autograd.grad(one, powers.raw, retain_graph=True)[0] for one in difference]
    values = [x.detach() for x in (*found, *log_q)]
    # half the difference of two losses, each off by one unit of its last place, times what follows from the masks
    rounding = ULP * (values[0].abs() + values[1].abs()) / 2
    w, every = w.detach(), every.detach()
    return {
        "w": w.float(),
        "alpha": 1.0 - every.float(),
        "dalpha": (-every * w / t.double()[:, None]).float(),
        "weight": (-w / t.double()[:, None]).float(),
        "loss_diff_1": values[0].float(),
        "loss_diff_2": values[1].float(),
        "rloo": Rounded(estimate.detach().float(), (rounding * difference.detach().abs()).float()),
        "loss_recon": first_step(tokens, w.float(), FIRST, EPS).sum(1),
        "grad_rloo_mean_wrt_raw_w": Rounded(
            grad.float(), (rounding[:, None] * torch.stack(slopes).abs()).mean(0).float()
        ),
    }
