"""Schedules and what is made of them: slopes against differentiation, times against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from redraft.core.draws import Keyed
from redraft.core.traits import Traits
from redraft.noise.absorbing import Absorbing
from redraft.noise.schedules import (
    Cosine,
    Geometric,
    GeometricRate,
    Linear,
    Logarithmic,
    Polynomial,
    PowerRate,
    QuarterCosine,
    Schedule,
    rate,
    staying,
    weight,
)
from redraft.objectives import Canvas, CrossEntropy, LowDiscrepancy, Stratified, Targets
from redraft.objectives.reached import Discrete, Even, EvenInLogRate, SpreadCounts
from redraft.objectives.terms import Posterior, subs
from tests.train.small import MASK

SCHEDULES: list[Schedule] = [
    Linear(),
    Linear(1e-3),
    Cosine(),
    Cosine(1e-4),
    Polynomial(2.0, 1e-4),
    Polynomial(0.5),
    QuarterCosine(),
    QuarterCosine(2.0),
    QuarterCosine(1.0, 1e-3, 0.0),
    PowerRate(2.0),
    PowerRate(0.5),
    Logarithmic(),
    Geometric(),
    Geometric(1e-4, 20.0),
    GeometricRate(),
]
TIMES = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)


def canvas(rows: int, width: int = 8, first: int = 0) -> Canvas:
    every = torch.ones(rows, width, dtype=torch.bool)
    return Canvas(torch.ones(rows, width, dtype=torch.int64), every, every, ~every, torch.arange(first, first + rows))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_slope_is_the_derivative_and_rate_and_alpha_add_to_one(schedule: Schedule) -> None:
    t = TIMES.clone().requires_grad_()
    (slope,) = torch.autograd.grad(schedule.alpha(t).sum(), t)
    torch.testing.assert_close(schedule.slope(TIMES), slope, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(rate(schedule, TIMES), 1.0 - schedule.alpha(TIMES), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(weight(schedule, TIMES), -slope / (1.0 - schedule.alpha(TIMES)), rtol=1e-9, atol=1e-12)
    assert bool((schedule.slope(TIMES) < 0).all())


def test_small_rates_lose_no_digits_in_float32() -> None:
    t = torch.tensor([1e-7, 1e-5, 1e-3])
    torch.testing.assert_close(Absorbing(Linear()).weight(t), 1.0 / t, rtol=1e-6, atol=0.0)


def test_staying_masked_is_the_ratio_of_rates() -> None:
    t, s = torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.25])
    torch.testing.assert_close(staying(Linear(), t, s), torch.tensor([0.25, 0.5]))


def test_a_geometric_rate_weighs_all_times_alike_and_importance_sampled_times_have_it() -> None:
    found = weight(GeometricRate(), TIMES)
    torch.testing.assert_close(found, torch.full_like(TIMES, math.log((1 - 1e-3) / -math.expm1(-1e-3))))
    t = EvenInLogRate(Stratified(512, low=0.0)).draw(canvas(512), Keyed(3))[:, 0]
    log_rate = ((1 - 1e-3) * t).log().sort().values
    steps = log_rate.diff()
    assert float(steps.max()) < 2.1 * (float(log_rate[-1] - log_rate[0]) / 511)


def test_discrete_times_are_the_next_step() -> None:
    t = Discrete(10, LowDiscrepancy(low=0.0)).draw(canvas(200), Keyed(1))
    torch.testing.assert_close((t * 10).round() / 10, t, rtol=0.0, atol=1e-6)
    assert float(t.min()) == pytest.approx(0.1) and float(t.max()) == pytest.approx(1.0)
    under = LowDiscrepancy(low=0.0).draw(canvas(200), Keyed(1))
    assert bool((t > under).all()) and bool((t <= under + 0.1 + 1e-6).all())


def test_even_times_and_spread_counts() -> None:
    torch.testing.assert_close(
        Even(4, 0.1, 1.0).draw(canvas(4), Keyed(0))[:, 0], torch.tensor([0.1, 0.4, 0.7, 1.0]), rtol=1e-6, atol=0.0
    )
    for seed in range(5):
        counts = (SpreadCounts(8).draw(canvas(8), Keyed(seed))[:, 0] * 8).round().long()
        assert sorted(counts.tolist()) == list(range(1, 9))


def test_the_discrete_loss_of_a_subs_model_is_cross_entropy_over_t_and_mass_on_the_mask_costs() -> None:
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(30, 12, generator=g)
    clean = torch.randint(3, 12, (30,), generator=g)
    t = torch.randint(1, 11, (30,), generator=g) / 10
    about = Traits(mask=MASK, eos=(), vocab=12)
    targets = Targets(clean, torch.full_like(clean, MASK), t, t, torch.ones_like(clean) > 0, Absorbing(), about)
    found = Posterior(10).each(logits, targets)
    torch.testing.assert_close(
        found, CrossEntropy().each(logits, targets) / t.clamp_max(1 - 1e-4), rtol=1e-4, atol=1e-5
    )
    # by its definition: T KL(q(s | z = mask, clean) || q(s | z = mask, model)), both over {token ids, mask}
    p = logits.softmax(-1)
    s = t - 0.1
    model = p * ((t - s) / (t + (1 - t) * p[:, MASK]))[:, None]
    model[:, MASK] = (s + (1 - s) * p[:, MASK]) / (t + (1 - t) * p[:, MASK])
    own = model.gather(1, clean[:, None])[:, 0]
    first = t > 0.95
    kl = 10 * (
        (0.1 / t) * ((0.1 / t) / own).log() + torch.where(s > 1e-6, (s / t) * ((s / t) / model[:, MASK]).log(), 0.0)
    )
    torch.testing.assert_close(
        Posterior(10, subs=False).each(logits, targets)[~first], kl[~first], rtol=1e-3, atol=1e-4
    )


def test_subs_gives_distributions_without_the_mask_that_keep_what_is_known() -> None:
    logits, seen = torch.randn(2, 5, 7), torch.tensor([[2, 3, 2, 4, 2], [5, 2, 2, 6, 3]])
    found = subs(logits, seen, 2).exp()
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 5))
    assert bool((found[..., 2] == 0).all())
    known = seen != 2
    assert torch.equal(found[known], F.one_hot(seen[known], 7).float())
