"""Likelihood bounds and noises against their definitions: sums over the vocabulary, Bayes, quadrature, enumeration."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from redraft.core.draws import Keyed, normal
from redraft.core.traits import Traits
from redraft.noise.absorbing import Absorbing
from redraft.noise.edits import TokenEdits
from redraft.noise.gaussian import Gaussian, argmax_probability
from redraft.noise.hybrid import Hybrid, TwoRates
from redraft.noise.schedules import Capped, Cosine, Linear, Polynomial, Shortened
from redraft.noise.uniform import Uniform, posterior
from redraft.objectives import Constant, CrossEntropy, Targets, once
from redraft.objectives.bounds import (
    DiscreteBound,
    Focal,
    HybridBound,
    UniformBound,
    uniform_bound,
    unmasked_at_start,
)
from redraft.objectives.hyperschedules import EpsilonBound, RateEntropy
from redraft.objectives.learned import LearnedSchedule, density, first_step, leave_one_out, log_mask_probability, masked
from redraft.objectives.steps import Renamed
from tests.train.small import MASK as OWN
from tests.train.small import backbone, make

V, MASK = 7, 6
WITH_MASK = Traits(mask=MASK, eos=(), vocab=V)
WITHOUT = Traits(mask=None, eos=(), vocab=V)


def targets(noise: object, traits: Traits, num: int = 200, seed: int = 0) -> tuple[Tensor, Targets]:
    """Random logits and targets whose seen token is drawn from the noise."""
    g = torch.Generator().manual_seed(seed)
    clean = torch.randint(0, V - 1, (num,), generator=g)
    time = torch.rand(num, generator=g) * 0.96 + 0.02
    canvas = make((0,), (num,))
    rate = noise.rate(time)  # type: ignore[attr-defined]
    hit = torch.rand(num, generator=g) < rate
    seen = noise.fill(canvas, clean[None], hit[None], time[None], Keyed(seed), traits)[0]  # type: ignore[attr-defined]
    logits = torch.randn(num, V, generator=g) * 2
    return logits, Targets(clean, seen, time, rate, hit, noise, traits)  # type: ignore[arg-type]


@pytest.mark.parametrize("traits", [WITH_MASK, WITHOUT])
@pytest.mark.parametrize("schedule", [Linear(1e-3), Cosine(1e-4)])
def test_the_uniform_bound_is_the_sum_over_the_vocabulary(traits: Traits, schedule: Linear) -> None:
    logits, about = targets(Uniform(schedule), traits, 60)
    about = replace(about, time=about.time.double())
    found = UniformBound().each(logits.double(), about)
    tokens = [v for v in range(V) if v != traits.mask]
    n = len(tokens)
    for i in range(len(found)):
        alpha, slope = (float(f(about.time[i])) for f in (schedule.alpha, schedule.slope))
        p = logits[i].double()[tokens].softmax(0)
        x, z = tokens.index(int(about.clean[i])), tokens.index(int(about.seen[i]))
        b = [n * alpha * (j == x) + 1 - alpha for j in range(n)]
        c = [n * alpha * float(p[j]) + 1 - alpha for j in range(n)]
        total = sum(b[j] / b[z] * math.log(c[z] * b[j] / (c[j] * b[z])) for j in range(n))
        wanted = slope / (n * alpha) * (n / b[z] - n / c[z] - total)
        assert float(found[i]) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_the_uniform_bound_is_zero_for_the_true_posterior_and_its_mean_is_the_kl_rate() -> None:
    """Its expectation over z is the derivative of the KL between the reverse steps of x and of the model."""
    alpha, before, step = 0.6, 0.6 + 1e-5, 1e-5
    p = torch.randn(V, dtype=torch.float64).softmax(0)
    x, clean = 2, torch.eye(V, dtype=torch.float64)[2]
    a, s = torch.tensor(alpha, dtype=torch.float64), torch.tensor(before, dtype=torch.float64)
    kl = mean = 0.0
    for z in range(V):
        q = alpha * float(clean[z]) + (1 - alpha) / V
        one, two = (posterior(v[None], torch.tensor([z]), s[None], a[None])[0] for v in (clean, p))
        kl += q * float((one * (one / two).log()).sum())
        mean += q * float(bound_at(p, x, z, alpha))
    assert kl / step == pytest.approx(mean, rel=2e-3)
    sharp = torch.full((V,), -60.0, dtype=torch.float64)
    sharp[x] = 0.0
    assert abs(float(bound_at(sharp.softmax(0), x, 4, alpha))) < 1e-9


def bound_at(p: Tensor, x: int, z: int, alpha: float) -> Tensor:
    a = torch.tensor([alpha], dtype=torch.float64)
    return uniform_bound(p[None], torch.tensor([x]), torch.tensor([z]), a, -torch.ones_like(a))[0]


def test_the_uniform_posterior_is_bayes_and_sums_to_one() -> None:
    s, t = 0.8, 0.5
    for x, z in itertools.product(range(V), repeat=2):
        prior = [s * (j == x) + (1 - s) / V for j in range(V)]
        step = [t / s * (z == j) + (1 - t / s) / V for j in range(V)]
        joint = torch.tensor([a * b for a, b in zip(prior, step, strict=True)], dtype=torch.float64)
        clean = torch.eye(V, dtype=torch.float64)[x]
        found = posterior(clean, torch.tensor(z), torch.tensor(s).double(), torch.tensor(t).double())
        torch.testing.assert_close(found, joint / joint.sum(), rtol=1e-6, atol=1e-9)
    mixed = posterior(
        torch.randn(30, V, dtype=torch.float64).softmax(-1),
        torch.randint(V, (30,)),
        torch.full((30,), s).double(),
        torch.full((30,), t).double(),
    )
    torch.testing.assert_close(mixed.sum(-1), torch.ones(30).double())


def test_gidd_without_uniform_noise_is_mdlm() -> None:
    noise = Hybrid(p_uniform=0.0)
    logits, about = targets(noise, WITH_MASK)
    found = HybridBound("none").each(logits, about)
    wanted = torch.where(about.seen == MASK, CrossEntropy().each(logits, about) / about.time, 0.0)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    t = torch.linspace(0.01, 0.99, 9)
    torch.testing.assert_close(noise.alpha(t), 1 - t)
    torch.testing.assert_close(noise.weight(t), 1 / t)


@pytest.mark.parametrize("noise", [Hybrid(0.2, 2.0), Hybrid(0.1, 1.0)])
def test_hybrid_noise_draws_what_its_distribution_says(noise: Hybrid) -> None:
    num = 40_000
    canvas = make((0,), (num,))
    clean, time = torch.full((1, num), 3), torch.full((1, num), 0.4)
    wanted = noise.distribution(torch.eye(V)[3], torch.tensor(0.4), WITH_MASK)
    assert float(wanted.sum()) == pytest.approx(1.0, abs=1e-6)
    draws = Keyed(5)
    hit = draws.column(canvas, "mask") < noise.rate(time)
    filled = noise.fill(canvas, clean, hit, time, draws, WITH_MASK)
    exact = noise.sample(clean, time, draws.column(canvas, "one"), WITH_MASK)
    for seen in (filled, exact):
        share = torch.bincount(seen[0], minlength=V) / num
        assert float((share - wanted).abs().max()) < 0.01


def test_hybrid_slopes_are_derivatives() -> None:
    noise = Hybrid(0.2, 2.0)
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    step = 1e-6
    slope = (noise.alpha(t + step) - noise.alpha(t - step)) / (2 * step)
    torch.testing.assert_close(noise.alpha_ratio(t), slope / noise.alpha(t), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(noise.weight(t), -slope / (1 - noise.alpha(t)), rtol=1e-6, atol=1e-6)


def test_gidd_s_bound_is_the_kl_rate_of_the_reverse_steps() -> None:
    """E_z of w (KL + IS) is, up to what does not depend on the model, the rate of KL between reverse steps."""
    noise, t, step = Hybrid(0.2, 1.0), 0.4, 1e-5
    one, two = (torch.randn(1, V, dtype=torch.float64) for _ in range(2))
    x = 1
    q = [noise.distribution(torch.eye(V).double()[x], torch.tensor(u).double(), WITH_MASK) for u in (t, t - step)]
    a = [float(noise.alpha(torch.tensor(u).double())) for u in (t, t - step)]
    b = [noise.beta(torch.tensor(u).double(), WITH_MASK) for u in (t, t - step)]
    move = b[0] - a[0] / a[1] * b[1]  # q(z | earlier) = a_t / a_s [z = earlier] + move_z

    def reverse(p: Tensor, z: int) -> Tensor:
        """p(earlier | z) with the model's distribution of x."""
        earlier = a[1] * p + b[1]
        like = move[z] + torch.eye(V).double()[z] * (a[0] / a[1])
        return earlier * like / (earlier * like).sum()

    def both(logits: Tensor) -> tuple[float, float]:
        p = logits[0].index_fill(0, torch.tensor([MASK]), -math.inf).softmax(0)
        kl = bound = 0.0
        for z in range(V):
            true, model = reverse(torch.eye(V).double()[x], z), reverse(p, z)
            kl += float(q[0][z]) * float(torch.xlogy(true, true / model).nansum())
            about = Targets(*(torch.tensor([v]) for v in (x, z, t, 0.5, True)), noise, WITH_MASK)
            bound += float(q[0][z]) * float(HybridBound("none").each(logits, about))
        return kl / step, bound

    (kl_one, bound_one), (kl_two, bound_two) = both(one), both(two)
    assert kl_one - kl_two == pytest.approx(bound_one - bound_two, rel=2e-3)


@pytest.mark.parametrize("vocab", [2, 16, 5000])
def test_duo_s_alpha_is_the_probability_of_the_argmax(vocab: int) -> None:
    noise = Gaussian(vocab=vocab)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    grid = torch.linspace(-12, 30, 8_001, dtype=torch.float64)
    for i, gamma in enumerate(noise.gamma(t).tolist()):
        density = torch.exp(-((grid - math.exp(-gamma / 2)) ** 2) / 2) / math.sqrt(2 * math.pi)
        p = float(torch.trapezoid(density * (0.5 * torch.erfc(-grid / math.sqrt(2))) ** (vocab - 1), grid))
        assert float(noise.alpha(t)[i]) == pytest.approx((vocab * p - 1) / (vocab - 1), abs=1e-9)
    step = 1e-5
    slope = (noise.alpha(t + step) - noise.alpha(t - step)) / (2 * step)
    torch.testing.assert_close(noise.slope(t), slope, rtol=1e-5, atol=1e-7)


def test_duo_s_other_maps_agree_and_the_nearest_one_is_as_coarse_as_its_table() -> None:
    t = torch.linspace(0, 1, 33, dtype=torch.float64)
    exact = Gaussian(vocab=16)
    power, fit = Gaussian(vocab=16, map="series"), Gaussian(vocab=16, map="polynomial")
    torch.testing.assert_close(power.alpha(t), exact.alpha(t), rtol=0, atol=1e-9)
    torch.testing.assert_close(power.slope(t), exact.slope(t), rtol=0, atol=1e-7)
    torch.testing.assert_close(fit.alpha(t), exact.alpha(t), rtol=0, atol=1e-5)
    coarse = Gaussian(vocab=16, map="nearest", points=2001)
    assert float((coarse.slope(t) == 0).double().mean()) > 0.2  # the step of the difference is half a cell
    p, slope = argmax_probability(torch.tensor([-2.0]), 16)
    assert float(slope) < 0 < float(p) < 1


def test_gaussian_noise_keeps_the_clean_token_as_often_as_alpha_says() -> None:
    noise = Gaussian(vocab=V)
    num = 20_000
    canvas = make((0,), (num,))
    time, clean = torch.full((1, num), 0.7), torch.full((1, num), 2)
    seen = noise.fill(canvas, clean, clean == clean, time, Keyed(1), WITHOUT)
    alpha = float(noise.alpha(torch.tensor(0.7)))
    share = torch.bincount(seen[0], minlength=V) / num
    wanted = torch.full((V,), (1 - alpha) / V)
    wanted[2] += alpha
    assert float((share - wanted).abs().max()) < 0.012
    assert float(normal(Keyed(1).column(canvas, "gauss", V)).std()) == pytest.approx(1.0, abs=0.01)


def test_md4_in_many_steps_is_md4_in_continuous_time() -> None:
    t = torch.linspace(0.1, 1.0, 10, dtype=torch.float64)
    for schedule in (Polynomial(1.0, 1e-4), Polynomial(2.0, 1e-4), Cosine(1e-4)):
        exact = 100 * (schedule.alpha(t - 0.01) - schedule.alpha(t)) / (1 - schedule.alpha(t))
        torch.testing.assert_close(DiscreteBound(100).at(schedule, t), exact, rtol=1e-9, atol=1e-9)
        fine = DiscreteBound(100_000).at(schedule, t)
        torch.testing.assert_close(fine, -schedule.slope(t) / (1 - schedule.alpha(t)), rtol=1e-3, atol=1e-3)
    assert float(unmasked_at_start(Polynomial(1.0, 1e-4), 8, 16)) == pytest.approx(8 * 1e-4 * math.log(16), rel=1e-3)


def test_schedules_of_schedules() -> None:
    t = torch.linspace(0, 1, 5)
    torch.testing.assert_close(Shortened(Linear(), 1e-3).alpha(t), Linear(1e-3).alpha(t))
    torch.testing.assert_close(Capped(Linear(), 0.25).alpha(t), 0.25 * (1 - t))
    torch.testing.assert_close(Cosine().time(Cosine().alpha(t)), t, rtol=0, atol=1e-3)
    torch.testing.assert_close(Linear(0.01).time(Linear(0.01).alpha(t)), t)


def test_focal_by_hand() -> None:
    logits, about = targets(Absorbing(), WITH_MASK, 20)
    for i, value in enumerate(Focal(0.25, 2.0).each(logits, about).tolist()):
        p = float(logits[i].softmax(0)[about.clean[i]])
        assert value == pytest.approx(0.25 * (1 - p) ** 2 * -math.log(p), rel=1e-4)


def test_hdlm_s_weights_by_hand() -> None:
    logits, about = targets(TokenEdits(0.3), WITH_MASK, 200)
    ce = torch.nn.functional.cross_entropy(logits, about.clean, reduction="none")
    plain, bare = EpsilonBound(0.3, 2.0).each(logits, about), EpsilonBound(0.3, 2.0, bare=True).each(logits, about)
    kinds = set()
    for i in range(200):
        p = float(about.time[i])
        if about.seen[i] == MASK:
            kind, weight, other = "masked", 1 / p, 1 / p
        else:
            kind = "replaced" if about.hit[i] else "left"
            other = 2.0 * (0.7 if kind == "replaced" else 0.3)
            weight = other / (1 - p)
        kinds.add(kind)
        assert float(plain[i]) == pytest.approx(float(ce[i]) * weight, rel=1e-5)
        assert float(bare[i]) == pytest.approx(float(ce[i]) * other, rel=1e-5)
    assert len(kinds) == 3


def test_two_rates_are_the_exponential_of_their_rate_matrix() -> None:
    noise, n = TwoRates(0.3), V - 1
    absorb, even = torch.zeros(V, V), torch.full((V, V), 1 / n)
    absorb[:n, MASK] = 1.0
    absorb[:n, :n] -= torch.eye(n)
    even[MASK], even[:, MASK] = 0.0, 0.0
    even[:n, :n] -= torch.eye(n)
    t = torch.tensor(0.6)
    q = torch.matrix_exp(noise.sigma(t) * (0.7 * absorb + 0.3 * even))
    for x in range(n):
        torch.testing.assert_close(noise.distribution(torch.tensor(x), t, WITH_MASK), q[x], rtol=1e-4, atol=1e-6)
    num = 40_000
    canvas, clean, time = make((0,), (num,)), torch.full((1, num), 3), torch.full((1, num), 0.6)
    hit = Keyed(2).column(canvas, "mask") < noise.rate(time)
    share = torch.bincount(noise.fill(canvas, clean, hit, time, Keyed(2), WITH_MASK)[0], minlength=V) / num
    assert float((share - q[3]).abs().max()) < 0.01


def test_rate_entropy_is_least_and_zero_at_the_true_ratios() -> None:
    noise = TwoRates(0.3)
    _, about = targets(noise, WITH_MASK, 60)
    q = noise.distribution(about.clean, about.time, WITH_MASK)
    true = (q / q.gather(1, about.seen[:, None])).log()
    value = RateEntropy().each(true, about)
    torch.testing.assert_close(value, torch.zeros(60), rtol=0, atol=2e-3)
    moved = true.clone().requires_grad_()
    RateEntropy().each(moved, about).sum().backward()  # type: ignore[no-untyped-call]
    assert moved.grad is not None and float(moved.grad.abs().max()) < 2e-2
    assert bool((RateEntropy().each(true + torch.randn_like(true), about) > 0).all())


def test_genmd4_with_equal_exponents_is_md4() -> None:
    logits, about = targets(Absorbing(), WITH_MASK)
    logits = logits.index_fill(1, torch.tensor([MASK]), -math.inf)
    found = density(logits, about.clean, about.time, torch.full((V,), 1.7))
    torch.testing.assert_close(found, 1.7 * CrossEntropy().each(logits, about) / about.time, rtol=1e-5, atol=1e-4)


def test_genmd4_s_first_step_is_the_cross_entropy_of_the_posterior() -> None:
    w = torch.tensor([0.5, 1.0, 2.0])
    rate = masked(torch.tensor(0.01), w, 1e-4)
    for x in range(3):
        wanted = -float(rate[x]) * math.log(float(rate[x] / rate.sum()))
        assert float(first_step(torch.tensor(x), w, 0.01, 1e-4)) == pytest.approx(wanted, rel=1e-5)


def test_the_leave_one_out_gradient_is_the_exact_one_in_expectation() -> None:
    """Three columns, all 8 masks: the mean of the estimate's gradient over both masks is d/dw of the mean loss."""
    tokens, t = torch.tensor([0, 1, 2]), torch.tensor(0.3, dtype=torch.float64)
    patterns = list(itertools.product((False, True), repeat=3))
    cost = {p: float(sum((i + 1.5) ** 2 for i, b in enumerate(p) if b)) + 3.0 * sum(p) ** 2 for p in patterns}

    def log_q(w: Tensor, pattern: tuple[bool, ...]) -> Tensor:
        return log_mask_probability(masked(t, w[tokens], 1e-4), torch.tensor(pattern)).sum()

    w = torch.tensor([0.6, 1.0, 1.8], dtype=torch.float64, requires_grad=True)
    exact = torch.autograd.grad(sum((log_q(w, p).exp() * cost[p] for p in patterns), torch.zeros(())), w)[0]
    mean = torch.zeros(3, dtype=torch.float64)
    for one, two in itertools.product(patterns, repeat=2):
        a, b = log_q(w, one), log_q(w, two)
        estimate = leave_one_out((torch.tensor(cost[one]), torch.tensor(cost[two])), (a, b))
        chance = float((a + b).exp().detach())
        mean += chance * torch.autograd.grad(estimate, w)[0]
    torch.testing.assert_close(mean, exact, rtol=1e-6, atol=1e-8)


def test_genmd4_the_program_has_that_gradient() -> None:
    """A network that always answers evenly and documents of one token: the program's gradient in its exponent, over many
    documents, is the derivative of the expected loss; what flows through the weights alone is far from it."""
    model, program, token, num = backbone(), LearnedSchedule(times=Constant(0.4)), 5, 8000
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    traits = Traits(mask=OWN, eos=(), vocab=20)
    noise = program.networks(traits, None)["noise"]
    canvas = make((0,) * num, (1,) * num)
    canvas = replace(canvas, tokens=torch.full_like(canvas.tokens, token))
    loss = once(program, {"main": model, "noise": noise}, canvas, Keyed(3), traits)
    (found,) = torch.autograd.grad(loss.value, noise.raw)

    raw = noise.raw.detach().double().requires_grad_()
    w = torch.nn.functional.softplus(raw)
    kept = torch.arange(20) != OWN
    rate = masked(torch.tensor(0.4).double(), w[token], 1e-4)
    each = (w[token] * (math.log(19) - 1.0) + w[kept].mean()) / 0.4
    start = first_step(torch.tensor(token), torch.where(kept, w, math.inf), 1e-3, 1e-4)
    (wanted,) = torch.autograd.grad(rate * each + start, raw, retain_graph=True)
    (without,) = torch.autograd.grad(rate.detach() * each + start, raw)
    assert loss.value.item() == pytest.approx((rate * each + start).item(), rel=0.03)
    near, far = ((found - x).abs()[token].item() for x in (wanted, without))
    assert near < 0.1 * far


def test_renamed_draws_are_other_draws() -> None:
    canvas = make((1, 2), (5, 4))
    one, two = Keyed(1).column(canvas, "mask"), Renamed(Keyed(1), "second ").column(canvas, "mask")
    assert not torch.equal(one, two) and torch.equal(two, Keyed(1).column(canvas, "second mask"))
