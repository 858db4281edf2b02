"""Objectives and estimators against enumeration: four tokens and a mask, documents of at most four places.

The reference below knows nothing of redraft but the network as a function (ids, positions, who sees whom) -> logits. It
sums over every noised canvas with its exact probability and integrates times by Gauss-Legendre quadrature. Objectives
are summed over the same canvases by giving them the random numbers that make each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from redraft.core.draws import BELOW_ONE, Keyed
from redraft.core.traits import Traits
from redraft.models.backbone import Backbone, BackboneConfig, dense
from redraft.noise.absorbing import Absorbing, Clean
from redraft.noise.hybrid import Hybrid
from redraft.noise.schedules import Cosine, Linear, Polynomial
from redraft.noise.uniform import Uniform
from redraft.objectives import (
    Bound,
    Canvas,
    Causal,
    Flat,
    Full,
    InverseRate,
    NextToken,
    Objective,
    PerDocument,
    Shifted,
    TwoStream,
    once,
)
from redraft.objectives.bounds import HybridBound, UniformBound
from redraft.objectives.forcing import Annealed, Forcing
from redraft.objectives.likelihood import AnyOrder, LeftToRight
from redraft.objectives.orders import Ordered
from redraft.objectives.times import Uniform as Times
from redraft.objectives.topological import Topological
from redraft.objectives.validity import bounds, valid
from redraft.recipes.recipe import known_recipes

V, MASK, BLOCK = 5, 4, 2
X = (3, 0, 2, 1)
TRAITS = Traits(MASK, (), V)


@cache
def network() -> Backbone:
    torch.manual_seed(3)
    model = Backbone(BackboneConfig(V, 16, 32, 2, 2, 2, 8, qk_norm=True, tie_embeddings=False))
    for one in model.parameters():
        if one.ndim == 2:
            one.data.normal_(std=0.5)
    return model.eval().requires_grad_(False)


# ---- the reference -------------------------------------------------------------------------------------------------

Sees = Callable[[int, int], bool]


def logits(ids: tuple[int, ...], sees: Sees) -> Tensor:
    """(n, V) float64 of ids at positions 0, 1, ..., the mask's logit taken out."""
    n = len(ids)
    mask = torch.tensor([[[sees(i, j) for j in range(n)] for i in range(n)]])
    model = network()
    out = model.head(model(model.embed(torch.tensor(ids)), torch.arange(n), dense(mask, 1))).double()
    out[:, MASK] = -math.inf
    return out.log_softmax(-1)


def everyone(i: int, j: int) -> bool:
    return True


@cache
def full(z: tuple[int, ...], x: tuple[int, ...]) -> Tensor:
    return logits(z, everyone)


@cache
def block_causal(z: tuple[int, ...], x: tuple[int, ...]) -> Tensor:
    return logits(z, lambda i, j: j // BLOCK <= i // BLOCK)


def one_later(table: Tensor) -> Tensor:
    """Row i predicts column i + 1; nothing predicts column 0."""
    return torch.cat((torch.full((1, V), math.nan, dtype=torch.float64), table[:-1]))


@cache
def causal_shifted(z: tuple[int, ...], x: tuple[int, ...]) -> Tensor:
    return one_later(logits(z, lambda i, j: j <= i))


def blocks(z: tuple[int, ...], x: tuple[int, ...], size: int, causal: bool) -> Iterator[tuple[int, Tensor]]:
    """(start, predictions of all rows up to the block's end) with clean tokens before each block."""
    for start in range(0, len(x), size):
        stop = min(start + size, len(x))

        def sees(i: int, j: int, start: int = start) -> bool:
            return i >= start or (j <= i if causal else j // size <= i // size)

        yield start, logits(x[:start] + z[start:stop], sees)


@cache
def two_stream(z: tuple[int, ...], x: tuple[int, ...], size: int = BLOCK, causal: bool = False) -> Tensor:
    return torch.cat([table[start:] for start, table in blocks(z, x, size, causal)])


@cache
def bridged(z: tuple[int, ...], x: tuple[int, ...], size: int = BLOCK, causal: bool = False) -> Tensor:
    """A block's first column is predicted by the clean row before it."""
    rows = [one_later(table)[start:] for start, table in blocks(z, x, size, causal)]
    return torch.cat(rows)


@cache
def unbridged(z: tuple[int, ...], x: tuple[int, ...]) -> Tensor:
    """... by the noised row before it."""
    return one_later(two_stream(z, x))


@dataclass(frozen=True)
class State:
    """One noised canvas: u are the times' random numbers by column, p its probability with the quadrature's weight."""

    z: tuple[int, ...]
    hit: tuple[bool, ...]
    u: tuple[float, ...]
    p: float


def turns(z: tuple[int, ...]) -> list[int]:
    """Each place's turn where what is known comes before what is masked, each from left to right."""
    order = sorted(range(len(z)), key=lambda i: (z[i] == MASK, i))
    return [order.index(i) for i in range(len(z))]


@cache
def topological(z: tuple[int, ...], x: tuple[int, ...]) -> Tensor:
    turn = turns(z)
    return logits(z, lambda i, j: turn[j] <= turn[i])


@cache
def ordered(z: tuple[int, ...], x: tuple[int, ...], observed: bool) -> Tensor:
    """Causal clean context, and an open block whose columns see each other in an order."""
    rows = []
    for start in range(0, len(x), BLOCK):
        inside = z[start : start + BLOCK]
        turn = turns(inside) if observed else list(range(len(inside)))

        def sees(i: int, j: int, start: int = start, turn: list[int] = turn) -> bool:
            if i < start or j < start:
                return j <= i
            return turn[j - start] <= turn[i - start]

        rows.append(logits(x[:start] + inside, sees)[start:])
    return torch.cat(rows)


def nodes(num: int) -> list[tuple[float, float]]:
    at, weight = np.polynomial.legendre.leggauss(num)
    return [(float(a + 1) / 2, float(w) / 2) for a, w in zip(at, weight, strict=True)]


def masked(alpha: Callable[[float], float], num: int, per_block: int = 0, x: tuple[int, ...] = X) -> list[State]:
    """All masked canvases; one time, or one for every `per_block` columns."""
    groups = [i // per_block if per_block else 0 for i in range(len(x))]
    found = []
    for times in itertools.product(nodes(num), repeat=groups[-1] + 1):
        u = tuple(times[g][0] for g in groups)
        weight = math.prod(w for _, w in times)
        for hit in itertools.product((False, True), repeat=len(x)):
            p = weight * math.prod(1 - alpha(t) if h else alpha(t) for h, t in zip(hit, u, strict=True))
            found.append(State(tuple(MASK if h else a for h, a in zip(hit, x, strict=True)), hit, u, p))
    return found


def replaced(chance: Callable[[int, int, float], float], num: int, x: tuple[int, ...], tokens: int) -> list[State]:
    """All canvases of `tokens` kinds; chance (z, x, t) of one column."""
    found = []
    for t, weight in nodes(num):
        for z in itertools.product(range(tokens), repeat=len(x)):
            p = weight * math.prod(chance(a, b, t) for a, b in zip(z, x, strict=True))
            found.append(State(z, tuple(a != b for a, b in zip(z, x, strict=True)), (t,) * len(x), p))
    return found


def expected(states: list[State], loss: Callable[[State], float]) -> float:
    return sum(one.p * loss(one) for one in states)


def bound_loss(predict: Callable[..., Tensor], weight: Callable[[float], float], x: tuple[int, ...] = X) -> Any:
    """Sum over masked columns of weight(t) * -log p, over the number of columns that can be predicted."""

    def loss(one: State) -> float:
        table = predict(one.z, x)
        real = [i for i in range(len(x)) if not bool(table[i].isnan().any())]
        return -sum(weight(one.u[i]) * float(table[i, x[i]]) for i in real if one.hit[i]) / len(x)

    return loss


def flat_loss(one: State) -> float:
    """Mean over the masked columns of -log p."""
    table, hit = full(one.z, X), [i for i in range(len(X)) if one.hit[i]]
    return -sum(float(table[i, X[i]]) for i in hit) / max(len(hit), 1)


# ---- redraft's side ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scripted:
    """Draws that make the canvas of row r the one of states[r]."""

    states: list[State]

    def _times(self, canvas: Any, name: str) -> Tensor:
        assert name == "time", name
        return torch.tensor([one.u for one in self.states])

    def document(self, canvas: Any, name: str) -> Tensor:
        return self._times(canvas, name)

    def block(self, canvas: Any, name: str, block: int) -> Tensor:
        return self._times(canvas, name)

    def column(self, canvas: Any, name: str, size: int = 0) -> Tensor:
        z = torch.tensor([one.z for one in self.states])
        if name == "mask":
            return torch.where(torch.tensor([one.hit for one in self.states]), 0.0, BELOW_ONE)
        if name == "token":
            return (z.clamp_max(V - 2) + 0.5) / (V - 1)
        assert name == "masked", name  # mask or another token
        return torch.where(z == MASK, 0.0, BELOW_ONE)

    def group(self, numbers: Tensor, name: str) -> Tensor:
        raise AssertionError(name)


def canvas_of(num: int, x: tuple[int, ...] = X) -> Canvas:
    tokens = torch.tensor(x).expand(num, -1)
    there = torch.ones_like(tokens, dtype=torch.bool)
    return Canvas(tokens, there, there, ~there, torch.arange(num))


def summed(objective: Objective, states: list[State], x: tuple[int, ...] = X, traits: Traits = TRAITS) -> float:
    """The objective's loss, each canvas weighed by its probability: one batch, its losses' weights multiplied."""
    canvas = canvas_of(len(states), x)
    job = objective.prepare(canvas, Scripted(states), traits)
    assert job.noised.tokens.tolist() == [list(one.z) for one in states]
    reading = job.readings[0]
    p = torch.tensor([one.p for one in states])
    reading = replace(reading, weight=reading.weight * p[reading.row] * len(states))
    job = replace(job, readings=(reading,))
    return float(objective.run({"main": network()}, job, job.counts).value)


def linear(t: float) -> float:
    return 1 - t


def cosine(t: float) -> float:
    return 1 - math.cos(math.pi / 2 * (1 - t))


SUM = PerDocument("answer")
BASE = Objective(times=Times(low=0.0), weight=Bound(), normaliser=SUM)


def by_weight(t: float) -> float:
    return 1 / t


MASKED: list[tuple[str, Objective, list[State], Any]] = [
    ("full", BASE, masked(linear, 4), bound_loss(full, by_weight)),
    (
        "full, cosine",
        replace(BASE, noise=Absorbing(Cosine())),
        masked(cosine, 16),
        bound_loss(full, lambda t: math.pi / 2 * math.sin(math.pi / 2 * (1 - t)) / (1 - cosine(t))),
    ),
    (
        "full, polynomial",
        replace(BASE, noise=Absorbing(Polynomial(2.0))),
        masked(lambda t: 1 - t * t, 8),
        bound_loss(full, lambda t: 2 / t),
    ),
    (
        "full, log-linear",
        replace(BASE, noise=Absorbing(Linear(1e-3))),
        masked(lambda t: 1 - (1 - 1e-3) * t, 4),
        bound_loss(full, by_weight),
    ),
    ("full, 1/p", replace(BASE, weight=InverseRate()), masked(linear, 4), bound_loss(full, by_weight)),
    (
        "full, flat mean over the masked",
        replace(BASE, weight=Flat(), normaliser=PerDocument("learned")),
        masked(linear, 4),
        flat_loss,
    ),
    ("block-causal", replace(BASE, layout=Full(BLOCK)), masked(linear, 4), bound_loss(block_causal, by_weight)),
    (
        "causal, shifted",
        replace(BASE, layout=Causal(), target=Shifted()),
        masked(linear, 4),
        bound_loss(causal_shifted, by_weight),
    ),
    (
        "two streams",
        replace(BASE, layout=TwoStream(BLOCK), times=Times(BLOCK, low=0.0)),
        masked(linear, 3, BLOCK),
        bound_loss(two_stream, by_weight),
    ),
    (
        "two streams, one time a document",
        replace(BASE, layout=TwoStream(BLOCK)),
        masked(linear, 4),
        bound_loss(two_stream, by_weight),
    ),
    (
        "two streams, block 1",
        replace(BASE, layout=TwoStream(1), times=Times(1, low=0.0)),
        masked(linear, 2, 1),
        bound_loss(partial(two_stream, size=1), by_weight),
    ),
    (
        "two streams, causal context",
        replace(BASE, layout=TwoStream(BLOCK, causal=True), times=Times(BLOCK, low=0.0)),
        masked(linear, 3, BLOCK),
        bound_loss(partial(two_stream, causal=True), by_weight),
    ),
    (
        "two streams, shifted, bridged",
        replace(BASE, layout=TwoStream(BLOCK, bridge=True), target=Shifted(), times=Times(BLOCK, low=0.0)),
        masked(linear, 3, BLOCK),
        bound_loss(bridged, by_weight),
    ),
    (
        "two streams, shifted",
        replace(BASE, layout=TwoStream(BLOCK), target=Shifted(), times=Times(BLOCK, low=0.0)),
        masked(linear, 3, BLOCK),
        bound_loss(unbridged, by_weight),
    ),
    ("forcing", replace(BASE, layout=Forcing(BLOCK)), masked(linear, 4), bound_loss(block_causal, by_weight)),
    ("annealed to full", replace(BASE, layout=Annealed(1.0)), masked(linear, 4), bound_loss(full, by_weight)),
    (
        "topological",
        replace(BASE, layout=Topological("causal", "none")),
        masked(linear, 4),
        bound_loss(topological, by_weight),
    ),
    *(
        (
            f"two streams, order by {kind}",
            replace(BASE, layout=Ordered(BLOCK, kind), times=Times(BLOCK, low=0.0)),
            masked(linear, 3, BLOCK),
            bound_loss(partial(ordered, observed=kind == "observed"), by_weight),
        )
        for kind in ("place", "observed")
    ),
]


@pytest.mark.parametrize(("objective", "states", "loss"), [c[1:] for c in MASKED], ids=[c[0] for c in MASKED])
def test_masked_objectives_expect_what_enumeration_gives(objective: Objective, states: list[State], loss: Any) -> None:
    assert valid(objective) is None
    assert summed(objective, states) == pytest.approx(expected(states, loss), rel=2e-5)


BOUNDS = [c for c in MASKED if bounds(c[1]) is None]


def test_which_of_them_are_bounds() -> None:
    assert [c[0] for c in MASKED if c not in BOUNDS] == ["full, flat mean over the masked"]


# ---- uniform and hybrid noise ----------------------------------------------------------------------------------------

SHORT = (3, 0, 2)


def uniform_chance(z: int, x: int, t: float) -> float:
    return (1 - t) * (z == x) + t / (V - 1)


def uniform_density(one: State, predict: Callable[..., Tensor] = full) -> float:
    """-d/dt of KL(q(z_s | z_t, x) || p(z_s | z_t)) per column, from the definition of both rates (UDLM, equation 18)."""
    table, total, num = predict(one.z, SHORT).exp(), 0.0, V - 1
    for i, (z, x) in enumerate(zip(one.z, SHORT, strict=True)):
        t, alpha = one.u[i], 1 - one.u[i]
        true = [num * alpha * (k == x) + t for k in range(num)]
        twin = [num * alpha * float(table[i, k]) + t for k in range(num)]
        # rates of leaving z for k, backwards in time: (1 / (num alpha)) * own[k] / own[z]
        for k in range(num):
            if k != z:
                a, b = true[k] / true[z], twin[k] / twin[z]
                total += (a * math.log(a / b) - a + b) / (num * alpha)
    return total / len(SHORT)


UNIFORM = replace(BASE, noise=Uniform(), term=UniformBound(), weight=Flat(), supervise="answer")


def uniform_states(num: int) -> list[State]:
    """Columns that were redrawn and are what they were are the same canvas: they are counted once, as not hit."""
    return replaced(uniform_chance, num, SHORT, V - 1)


@pytest.mark.parametrize(
    ("layout", "predict"), [(Full(), full), (TwoStream(BLOCK), two_stream), (Full(BLOCK), block_causal)]
)
def test_the_uniform_bound_expects_what_enumeration_gives(layout: Any, predict: Callable[..., Tensor]) -> None:
    objective, states = replace(UNIFORM, layout=layout), uniform_states(6)
    assert valid(objective) is None and bounds(objective) is None
    wanted = expected(states, partial(uniform_density, predict=predict))
    assert summed(objective, states, SHORT) == pytest.approx(wanted, rel=5e-4)


def reverse_process(num_steps: int) -> float:
    """The uniform-noise model's own -log p(SHORT): its reverse Markov chain on all canvases, from uniform at t near 1."""
    canvases = list(itertools.product(range(V - 1), repeat=len(SHORT)))
    where = {z: i for i, z in enumerate(canvases)}
    tables = torch.stack([full(z, SHORT).exp()[:, : V - 1] for z in canvases])  # (n, T, V - 1)
    ids = torch.tensor(canvases)
    to = [
        (i, where[z[:c] + (k,) + z[c + 1 :]], c, k)
        for i, z in enumerate(canvases)
        for c in range(len(z))
        for k in range(V - 1)
        if k != z[c]
    ]
    src, dst, col, tok = (torch.tensor(x) for x in zip(*to, strict=True))
    p = torch.full((len(canvases),), 1 / len(canvases), dtype=torch.float64)
    grid = [0.5 * (1 + math.cos(math.pi * k / num_steps)) for k in range(num_steps + 1)]  # 1 ... 0, dense at the ends
    for high, low in itertools.pairwise(grid):
        t = (high + low) / 2
        twin = (V - 1) * (1 - t) * tables + t
        rate = twin[src, col, tok] / twin[src, col, ids[src, col]] / ((V - 1) * (1 - t))
        moves = torch.zeros(len(canvases), len(canvases), dtype=torch.float64)
        moves[src, dst] = rate
        moves -= moves.sum(1).diag()
        p = p @ torch.linalg.matrix_exp(moves * (high - low))
    return -math.log(float(p[where[SHORT]]))


def test_the_uniform_bound_lies_above_the_reverse_process() -> None:
    bound = expected(uniform_states(12), uniform_density) * len(SHORT)
    true = reverse_process(150)
    assert true == pytest.approx(reverse_process(75), abs=0.01)  # the chain's own error
    assert true < bound - 0.02


def test_the_hybrid_bound_expects_what_enumeration_gives() -> None:
    noise, num = Hybrid(0.2, 1.0), V - 1
    scale = 2.0 * 0.2 / 0.8

    def q(k: int, t: float, p: list[float]) -> float:
        c = scale * math.sqrt(t * (1 - t))
        return ((1 - t) * p[k] + (t if k == MASK else c / num)) / (1 + c)

    def chance(z: int, x: int, t: float) -> float:
        return q(z, t, [float(k == x) for k in range(V)])

    def density(one: State) -> float:
        table, total = full(one.z, SHORT).exp(), 0.0
        for i, (z, x) in enumerate(zip(one.z, SHORT, strict=True)):
            t = one.u[i]
            c = scale * math.sqrt(t * (1 - t))
            slope = scale * (1 - 2 * t) / (2 * math.sqrt(t * (1 - t)))
            true = [q(k, t, [float(j == x) for j in range(V)]) for k in range(V)]
            twin = [q(k, t, [float(table[i, j]) for j in range(V)]) for k in range(V)]
            kl = sum(a * math.log(a / b) for a, b in zip(true, twin, strict=True) if a > 0)
            r = true[z] / twin[z]
            gain = (c + (1 - t) * slope) / (1 - t)
            weight = 1 / (t * (1 - t)) if z == MASK else gain / c if z != x else gain / num / (1 - t + c / num)
            total += weight * (kl + r - math.log(r) - 1)
        return total / len(SHORT)

    objective = replace(BASE, noise=noise, term=HybridBound("none"), weight=Flat(), supervise="answer")
    states = replaced(chance, 5, SHORT, V)
    assert valid(objective) is None
    assert sum(one.p for one in states) == pytest.approx(1)
    assert summed(objective, states, SHORT) == pytest.approx(expected(states, density), rel=1e-3)


# ---- the same through redraft's own random numbers -------------------------------------------------------------------

DRAWN = [
    ("full", replace(BASE, times=Times(low=0.02)), masked(linear, 4)),
    ("two streams", replace(BASE, layout=TwoStream(BLOCK), times=Times(BLOCK, low=0.02)), masked(linear, 3, BLOCK)),
]


@pytest.mark.parametrize(("objective", "states"), [c[1:] for c in DRAWN], ids=[c[0] for c in DRAWN])
def test_drawn_losses_have_that_mean(objective: Objective, states: list[State]) -> None:
    """20,000 noisings against the integral over [0.02, 1], within four standard errors of at most 2 %."""
    predict = two_stream if isinstance(objective.layout, TwoStream) else full
    low = 0.02

    def moved(one: State) -> float:
        # the same states at times in [low, 1]: probabilities and weights written out again
        t = [low + (1 - low) * u for u in one.u]
        old = math.prod(u if h else 1 - u for h, u in zip(one.hit, one.u, strict=True))
        new = math.prod(u if h else 1 - u for h, u in zip(one.hit, t, strict=True))
        table = predict(one.z, X)
        loss = -sum(float(table[i, X[i]]) / t[i] for i in range(len(X)) if one.hit[i]) / len(X)
        return loss * new / old

    num = 20_000
    canvas = canvas_of(num)
    job = objective.prepare(canvas, Keyed(5), TRAITS)
    reading = job.readings[0]
    loss = objective.run({"main": network()}, job, job.counts)
    assert loss.each is not None
    each = torch.zeros(num, dtype=torch.float64).index_add(
        0, reading.row, loss.each[reading.row, reading.column].double() * reading.weight.double()
    )
    error = float(each.std()) / math.sqrt(num)
    assert error < 0.02 * float(each.mean())
    assert abs(float(each.mean()) - expected(states, moved)) < 4 * error
    assert float(loss.value) == pytest.approx(float(each.mean()), rel=1e-4)


# ---- what must be equal, and what must lie above ----------------------------------------------------------------------


@cache
def bound_of(name: str) -> float:
    """The bound in nats of the whole document, by redraft."""
    _, objective, states, _ = next(c for c in MASKED if c[0] == name)
    return summed(objective, states) * len(X)


def any_order(predict: Callable[..., Tensor], size: int) -> float:
    """-log of the mean over orders inside blocks of the chain rule's probability."""
    total = 0.0
    for start in range(0, len(X), size):
        places = range(start, min(start + size, len(X)))
        chances = []
        for order in itertools.permutations(places):
            p, shown = 1.0, set(range(len(X))) - set(places)
            for place in order:
                z = tuple(a if i in shown else MASK for i, a in enumerate(X))
                p *= float(predict(z, X)[place, X[place]].exp())
                shown.add(place)
            chances.append(p)
        total -= math.log(sum(chances) / len(chances))
    return total


def test_time_reparameterisation_changes_nothing() -> None:
    """MDLM's and MD4's schedules are one bound, which is that of random orders."""
    wanted = bound_of("full")
    for name in ("full, cosine", "full, polynomial", "full, log-linear", "full, 1/p"):
        rel = 2e-3 if name == "full, log-linear" else 2e-5  # eps leaves out a thousandth of the times
        assert bound_of(name) == pytest.approx(wanted, rel=rel)
    orders = 0.0
    for order in itertools.permutations(range(len(X))):
        for k, place in enumerate(order):
            z = tuple(a if i in order[:k] else MASK for i, a in enumerate(X))
            orders -= float(full(z, X)[place, X[place]]) / math.factorial(len(X))
    assert wanted == pytest.approx(orders, rel=2e-5)


def test_one_block_is_the_whole_canvas() -> None:
    objective = replace(BASE, layout=TwoStream(len(X)), times=Times(len(X), low=0.0))
    assert summed(objective, masked(linear, 4)) * len(X) == pytest.approx(bound_of("full"), rel=1e-5)


def test_bounds_lie_above_the_models_own_likelihood() -> None:
    assert bound_of("full") > any_order(full, len(X)) + 0.01
    assert bound_of("two streams") > any_order(two_stream, BLOCK) + 0.01
    assert bound_of("two streams, block 1") == pytest.approx(any_order(partial(two_stream, size=1), 1), rel=1e-5)


def test_block_one_with_causal_context_is_the_autoregressive_model() -> None:
    """Whatever the time: at block size 1 the loss is the autoregressive one, with shifted targets from clean rows."""
    table = one_later(logits(X, lambda i, j: j <= i))
    wanted = -sum(float(table[i, X[i]]) for i in range(1, len(X)))
    adapted = replace(BASE, layout=TwoStream(1, causal=True, bridge=True), target=Shifted(), times=Times(1, low=0.0))
    assert summed(adapted, masked(linear, 2, 1)) * len(X) == pytest.approx(wanted, rel=1e-5)
    plain = Objective(noise=Clean(), layout=Causal(), target=Shifted(), normaliser=PerDocument(None))
    value = once(plain, {"main": network()}, canvas_of(1), Keyed(0), TRAITS).value
    assert float(value) == pytest.approx(wanted, rel=1e-5)
    found = LeftToRight().estimate(network(), canvas_of(1), replace(TRAITS, attention="causal", shift=True, mask=None))
    # without a mask token in the traits the softmax holds all ids
    own = network()
    raw = own.head(own(own.embed(torch.tensor(X)), torch.arange(len(X)), dense(torch.ones(1, 4, 4).tril().bool(), 1)))
    raw = raw.double().log_softmax(-1)
    assert -float(found.value) == pytest.approx(-sum(float(raw[i, X[i + 1]]) for i in range(len(X) - 1)), rel=1e-5)


def test_more_orders_come_nearer_to_the_likelihood_from_above() -> None:
    """The importance-weighted bound of all orders lies between the plain bound and the exact value."""
    true, plain = any_order(full, len(X)), bound_of("full")
    canvas = canvas_of(400)
    means = [-float(AnyOrder().estimate(network(), canvas, TRAITS, 1, k, rows=512).value.mean()) for k in (1, 4, 24)]
    assert plain + 0.05 > means[0] > means[1] > means[2] > true - 0.01
    assert means[2] < true + 0.3 * (plain - true)


# ---- which rows make sense -------------------------------------------------------------------------------------------

NONSENSE = [
    (Objective(noise=Clean()), "sees that token"),
    (Objective(noise=Clean(), layout=Causal()), "sees that token"),
    (Objective(noise=Clean(), layout=Full(), target=Shifted()), "sees that token"),
    (Objective(noise=Clean(), layout=TwoStream(4)), "sees that token"),
    (Objective(layout=TwoStream(4), auxiliary=(NextToken(),)), "clean stream causal"),
    (Objective(term=UniformBound(), supervise="answer"), "Uniform or Gaussian"),
    (Objective(noise=Uniform(), term=UniformBound()), "supervise='answer'"),
    (Objective(noise=Uniform(), term=UniformBound(), supervise="answer", weight=Bound()), "weight=Flat()"),
    (Objective(noise=Uniform(), term=HybridBound(), supervise="answer"), "Hybrid"),
    (Objective(noise=Clean(), layout=Causal(), target=Shifted(), supervise="changed"), "changes no token"),
]


@pytest.mark.parametrize(("objective", "words"), NONSENSE)
def test_nonsense_is_refused_with_a_reason(objective: Objective, words: str) -> None:
    assert words in str(valid(objective))
    assert bounds(objective) is not None


SENSE = [
    Objective(),
    Objective(noise=Clean(), layout=Causal(), target=Shifted()),
    Objective(layout=TwoStream(4, causal=True), auxiliary=(NextToken(),)),
    Objective(noise=Uniform(), layout=TwoStream(4)),
    UNIFORM,
]


@pytest.mark.parametrize("objective", SENSE)
def test_sense_is_not_refused(objective: Objective) -> None:
    assert valid(objective) is None


@pytest.mark.parametrize("name", known_recipes())
def test_every_recipe_makes_sense(name: str) -> None:
    assert valid(known_recipes()[name].program) is None
