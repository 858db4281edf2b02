"""Mask policies, edit noises and times: exact counts, mean rates, complements, the same masks alone and packed."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from redraft.core.draws import Keyed
from redraft.core.errors import BadInput
from redraft.core.traits import Traits
from redraft.noise.edits import MixedPrior, TokenEdits
from redraft.objectives import (
    Bernoulli,
    Beta,
    Canvas,
    CleanContext,
    Clipped,
    Complementary,
    Constant,
    ExactCount,
    Later,
    LaterCount,
    Noised,
    Objective,
    RealisedRate,
    SoftTail,
    Span,
    Uniform,
)
from redraft.objectives.clipped import beta_table

MASK, TRAITS = 2, Traits(2, (1,), 20)


def rows(num: int, width: int, prompt: int = 0, first: int = 0) -> Canvas:
    tokens = torch.randint(3, 20, (num, width), generator=torch.Generator().manual_seed(1))
    there = torch.ones_like(tokens, dtype=torch.bool)
    answer = torch.arange(width).expand_as(tokens) >= prompt
    return Canvas(tokens, there, answer, ~there, torch.arange(num) + first)


def packed() -> tuple[Canvas, list[Canvas]]:
    """Documents of 7 and 9 places (prompts of 2 and 3) in one row behind each other with 2 columns of padding, and alone."""
    sizes, prompts, samples = (7, 9), (2, 3), (40, 41)
    tokens = torch.arange(3, 21).remainder(17).add(3)[None]
    sample = torch.tensor([[40] * 7 + [41] * 9 + [41] * 2])
    pos = torch.tensor([[*range(7), *range(11)]])
    valid = torch.arange(18)[None] < 16
    answer = valid & (pos >= torch.tensor([[2] * 7 + [3] * 11]))
    whole = Canvas(tokens, valid, answer, torch.zeros_like(valid), sample, pos)
    alone, start = [], 0
    for size, prompt, number in zip(sizes, prompts, samples, strict=True):
        part = tokens[:, start : start + size]
        there = torch.ones_like(part, dtype=torch.bool)
        alone.append(Canvas(part, there, torch.arange(size)[None] >= prompt, ~there, torch.tensor([number])))
        start += size
    return whole, alone


POLICIES: list[Any] = [
    ExactCount(),
    ExactCount(4, least=1),
    Later(),
    Later(4),
    LaterCount(),
    LaterCount(4),
    Span(3),
    SoftTail(1.5),
]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_document_is_masked_alike_alone_and_packed(policy: Any) -> None:
    whole, alone = packed()
    some = 0
    for seed in range(20):
        rate = torch.full(whole.tokens.shape, 0.05 * seed)
        found = policy.hits(whole, rate, Keyed(seed))
        assert not bool((found & ~whole.answer).any())
        for start, part in zip((0, 7), alone, strict=True):
            wide = part.tokens.shape[1]
            own = policy.hits(part, rate[:, :wide], Keyed(seed))
            assert torch.equal(own, found[:, start : start + wide])
        some += int(found.sum())
    assert some > 20


@pytest.mark.parametrize("policy", [ExactCount(), LaterCount()], ids=repr)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.5, 0.99, 1.0])
def test_exact_count_in_a_document(policy: Any, share: float) -> None:
    canvas = rows(50, 13, prompt=3)
    hit = policy.hits(canvas, torch.full((50, 13), share), Keyed(3))
    assert hit.sum(1).tolist() == [round(share * 10)] * 50


@pytest.mark.parametrize("policy", [ExactCount(4), LaterCount(4)], ids=repr)
def test_exact_count_in_each_block(policy: Any) -> None:
    canvas = rows(60, 14, prompt=3)  # blocks of 1, 4, 4, 4 and 2 - 1 answer columns
    rate = Uniform(4, low=0.0).draw(canvas, Keyed(1))
    hit = policy.hits(canvas, rate, Keyed(2))
    for row in range(60):
        for start, end in pairwise((3, 4, 8, 12, 14)):
            wanted = torch.round(rate[row, start] * (end - start))
            assert int(hit[row, start:end].sum()) == int(wanted)
    assert int(ExactCount(4, least=1).hits(canvas, rate * 0, Keyed(2)).sum()) == 60 * 4


def test_exact_count_takes_every_choice_alike() -> None:
    canvas = rows(6000, 4)
    hit = ExactCount().hits(canvas, torch.full((6000, 4), 0.5), Keyed(5)).long()
    code = hit @ torch.tensor([1, 2, 4, 8])
    counts = torch.bincount(code, minlength=16)[[3, 5, 9, 6, 10, 12]]
    assert int(counts.sum()) == 6000
    assert float((counts - 1000).abs().max()) < 5 * math.sqrt(1000)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("block", [0, 5])
def test_later_keeps_the_mean_rate_and_favours_late_places(block: int, share: float) -> None:
    canvas = rows(1, 20)
    own = Later(block).rates(canvas, torch.full((1, 20), share))[0]
    for part in own.split(block or 20):
        assert float(part.mean()) == pytest.approx(share, abs=1e-5)
        assert bool((part.diff() >= -1e-6).all())
        assert float(part.min()) >= 0 and float(part.max()) <= 1
    size, free = block or 20, own[: block or 20]
    if float(free.max()) < 1:  # proportional to exp(ln 2 / (0.25 size) (1 - t) i)
        wanted = 2.0 ** ((1 - share) * (size - 1) / (0.25 * size))
        assert float(free[-1] / free[0]) == pytest.approx(wanted, rel=1e-4)


def test_later_hits_at_its_rates() -> None:
    canvas, rate = rows(20000, 5), torch.full((20000, 5), 0.4)
    hit = Later().hits(canvas, rate, Keyed(4))
    torch.testing.assert_close(hit.float().mean(0), Later().rates(canvas, rate)[0], atol=0.015, rtol=0)


def test_later_count_draws_without_replacement_by_weight() -> None:
    """One of three with weights w_i: probabilities w_i / sum w; two of three: by the formula of sequential draws."""
    canvas = rows(40000, 3)
    for num in (1, 2):
        t = num / 3
        w = [2.0 ** ((1 - t) * i / 0.75) for i in range(3)]
        total = sum(w)
        wanted = [x / total for x in w]
        if num == 2:
            wanted = [
                w[i] / total + sum(w[j] / total * w[i] / (total - w[j]) for j in range(3) if j != i) for i in range(3)
            ]
        hit = LaterCount().hits(canvas, torch.full((40000, 3), t), Keyed(7)).float().mean(0)
        torch.testing.assert_close(hit, torch.tensor(wanted), atol=0.01, rtol=0)


def test_spans_come_in_runs_at_the_rate() -> None:
    canvas, share = rows(5000, 24), 0.3
    hit = Span(4).hits(canvas, torch.full((5000, 24), share), Keyed(2))
    torch.testing.assert_close(hit.float().mean(0), torch.full((24,), share), atol=0.03, rtol=0)
    # neighbours are in one run with probability 3/4: P(both) = 3/4 p + 1/4 p^2
    both = float((hit[:, 1:] & hit[:, :-1]).float().mean())
    assert both == pytest.approx(0.75 * share + 0.25 * share**2, abs=0.01)


def test_a_soft_tail_keeps_the_head_clean() -> None:
    canvas = rows(400, 22, prompt=2)
    rate = Uniform(low=0.0).draw(canvas, Keyed(1))
    hit = SoftTail(1.5).hits(canvas, rate, Keyed(2))
    for row in range(400):
        t = float(rate[row, 0])
        assert int(hit[row].sum()) == math.floor(t * 20)
        first = hit[row].nonzero()
        assert len(first) == 0 or int(first[0]) - 2 >= 20 - 1.5 * t * 20 - 1e-4
    assert bool(hit[rate[:, 0] < 0.6][:, 12:].any())


def test_complementary_pairs_cover_the_answer_exactly_once() -> None:
    whole, _ = packed()
    for seed in range(10):
        objective = Objective(times=Uniform(4), replicas=Complementary())
        canvas, noised = objective.replicas.noise(objective, whole, Keyed(seed), TRAITS)
        assert canvas.tokens.shape[0] == 2 and torch.equal(canvas.tokens[0], canvas.tokens[1])
        assert torch.equal(noised.hit.long().sum(0), whole.answer[0].long())
        assert torch.equal(noised.tokens == MASK, noised.hit)
        torch.testing.assert_close(noised.rate.sum(0), torch.ones(18))
    assert int(objective.prepare(whole, Keyed(1), TRAITS).counts["loss"]) == canvas.num_documents


def shares(noise: Any, t: float) -> tuple[float, float, float]:
    """(masked, another token, unchanged) of 40000 columns at time t."""
    canvas = rows(4000, 10)
    objective = Objective(noise=noise, times=Constant(t), masking=Bernoulli())
    seen = objective.corrupt(canvas, Keyed(3), TRAITS).tokens
    masked, same = (seen == MASK).float().mean(), (seen == canvas.tokens).float().mean()
    assert bool(((seen >= 0) & (seen < 20)).all())
    return float(masked), float(1 - masked - same), float(same)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.8, 1.0])
def test_edit_noises_have_their_shares(t: float) -> None:
    chance = 1 / 19  # a random token, never the mask, may be the true one
    wrong = 0.2 * (1 - t)
    wanted: list[tuple[Any, tuple[float, float]]] = [(TokenEdits(0.2), (t, wrong))]
    angle = math.pi / 2 * t
    wanted.append((MixedPrior(), (1 - math.cos(angle), math.sin(angle) + math.cos(angle) - 1)))
    for noise, (masked, random) in wanted:
        found = shares(noise, t)
        assert found[0] == pytest.approx(masked, abs=0.01)
        assert found[1] == pytest.approx(random * (1 - chance), abs=0.01)
    with pytest.raises(BadInput, match="Flat"):
        TokenEdits().weight(torch.ones(1))


@pytest.mark.parametrize(
    ("a", "b", "below"),
    [
        (1.0, 1.0, lambda x: x),
        (2.0, 1.0, lambda x: x**2),
        (1.0, 3.0, lambda x: 1 - (1 - x) ** 3),
        (2.0, 2.0, lambda x: 3 * x**2 - 2 * x**3),
        (0.5, 0.5, lambda x: 2 / math.pi * x.sqrt().asin()),
    ],
)
def test_beta_table_is_the_distribution(a: float, b: float, below: Callable[[Tensor], Tensor]) -> None:
    x, found = beta_table(a, b)
    torch.testing.assert_close(found, below(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mean", [0.3, 0.5, 0.8])
def test_beta_times_have_the_mean_and_the_concentration(mean: float) -> None:
    t = Beta(mean, 4.0, low=0.0).draw(rows(20000, 2), Keyed(1))
    assert torch.equal(t[:, 0], t[:, 1])
    assert float(t.mean()) == pytest.approx(mean, abs=0.005)
    assert float(t[:, 0].var()) == pytest.approx(mean * (1 - mean) / 5, rel=0.05)


def test_clipped_times_are_moved_not_scaled() -> None:
    inner, canvas = Uniform(low=0.0), rows(500, 3)
    t, plain = Clipped(inner, 0.25, 0.9).draw(canvas, Keyed(1)), inner.draw(canvas, Keyed(1))
    assert torch.equal(Clipped(inner, 0.1, block=8).draw(canvas, Keyed(1)), plain.clamp(1 / 8, 1.0))
    assert torch.equal(t, plain.clamp(0.25, 0.9)) and 0.2 < float((t == 0.25).float().mean()) < 0.3


def test_weights_that_read_the_mask() -> None:
    canvas = rows(1, 6)
    hit = torch.tensor([[False, True, True, False, False, True]])
    noised = Noised(canvas.tokens, hit, torch.full((1, 6), 0.5), torch.full((1, 6), 0.5))
    noise = Objective().noise
    mass = [0.0, 0.0, 1.0, 1.5, 0.75, 0.375]
    wanted = torch.tensor([[1 / (1 + m) for m in mass]])
    torch.testing.assert_close(CleanContext(1.0, 0.5).of(canvas, noised, noise), wanted)
    torch.testing.assert_close(RealisedRate().of(canvas, noised, noise), torch.full((1, 6), 2.0))
    wanted = torch.tensor([[1.5, 1.5, 1.5, 3.0, 3.0, 3.0]])
    torch.testing.assert_close(RealisedRate(3).of(canvas, noised, noise), wanted)
