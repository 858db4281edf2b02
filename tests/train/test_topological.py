"""Eso-LM's orders, hyperschedules, nested pairs and soft inputs, each against what its paper says of it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from redraft.core.draws import Keyed
from redraft.core.errors import BadInput
from redraft.core.traits import Traits
from redraft.models.backbone import dense
from redraft.noise.absorbing import Absorbing
from redraft.noise.gaussian import Gaussian
from redraft.noise.uniform import Uniform
from redraft.objectives import Canvas, Causal, Noised, Objective, PerToken, once
from redraft.objectives import Uniform as UniformTimes
from redraft.objectives.hyperschedules import ActiveWindow, Annealed, BlockAnnealing, SimpleAnnealing
from redraft.objectives.programs import Split
from redraft.objectives.reached import Discrete
from redraft.objectives.relaxed import Every, Relaxed
from redraft.objectives.steps import Lattice, Nested, StepWeight
from redraft.objectives.topological import (
    Topological,
    TopologicalPair,
    drawn_order,
    importance_weighted,
    order,
)
from tests.train.small import MASK, backbone, make

TRAITS = Traits(mask=MASK, eos=(), vocab=20)


def noised(canvas: Canvas, rate: float = 0.5, seed: int = 1) -> Noised:
    hit = (Keyed(seed).column(canvas, "mask") < rate) & canvas.answer
    time = torch.full(canvas.tokens.shape, rate)
    return Noised(torch.where(hit, MASK, canvas.tokens), hit, time, time)


def hidden(view: object, canvas: Canvas) -> Tensor:
    """(B, W, D) hidden states of a view."""
    model = backbone()
    x = model.embed(view.tokens.flatten())  # type: ignore[attr-defined]
    attend = dense(view.mask(), len(canvas.tokens))  # type: ignore[attr-defined]
    return model(x, view.pos.flatten(), attend).unflatten(0, view.tokens.shape)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("shuffled", ["all", "known", "none"])
def test_known_columns_come_first(shuffled: str) -> None:
    canvas = make((2, 1, 3), (9, 7, 8))
    made = noised(canvas)
    place = order(canvas, made.hit, shuffled, Keyed(4))  # type: ignore[arg-type]
    for row in range(3):
        there = canvas.valid[row].nonzero()[:, 0]
        by_place = there[place[row, there].argsort()]
        assert place[row, there].sort().values.tolist() == list(range(len(there)))
        masked = made.hit[row, by_place]
        assert not bool((masked[:-1] & ~masked[1:]).any())
        natural = [by_place[m].diff() > 0 for m in (masked, ~masked)]
        assert bool(natural[0].all()) == (shuffled != "all") or int(masked.sum()) < 3
        assert bool(natural[1].all()) == (shuffled == "none")


def test_a_sorted_causal_pass_is_the_topological_one() -> None:
    """Moving tokens and positions into the order and running an ordinary causal pass gives the same hidden states."""
    canvas = make((2, 0), (9, 11))
    made = noised(canvas)
    place = order(canvas, made.hit, "all", Keyed(4))
    view = Topological("causal").ordered(canvas, made, made.hit, place)
    columns = place.argsort(1)
    moved = canvas.tokens.gather(1, columns)
    shown = Canvas(moved, canvas.valid, canvas.answer, canvas.suffix, canvas.sample[:, 0])
    plain = Causal().lay(shown, replace(made, tokens=made.tokens.gather(1, columns)), made.hit, Keyed(0))
    plain = replace(plain, pos=canvas.place.gather(1, columns))
    found, wanted = hidden(view, canvas), hidden(plain, shown)
    torch.testing.assert_close(found.gather(1, columns[..., None].expand_as(found)), wanted, rtol=1e-4, atol=1e-5)


def test_each_masked_token_is_predicted_from_all_before_it_in_one_pass() -> None:
    """The noised column of a masked token equals that of a canvas in which exactly the tokens before it are clean."""
    canvas = make((1,), (7,))
    made = noised(canvas, 0.6)
    place = order(canvas, made.hit, "known", Keyed(2))
    together = hidden(TopologicalPair().ordered(canvas, made, made.hit, place), canvas)
    for column in made.hit[0].nonzero()[:, 0].tolist():
        earlier = place[0] < place[0, column]
        tokens = torch.where(earlier, canvas.tokens[0], MASK)[None]
        view = Topological("causal").ordered(canvas, replace(made, tokens=tokens), made.hit, place)
        torch.testing.assert_close(together[0, column], hidden(view, canvas)[0, column], rtol=1e-4, atol=1e-5)


def test_variant_a_lets_known_columns_see_one_another() -> None:
    canvas = make((2,), (8,))
    made = noised(canvas)
    place = order(canvas, made.hit, "none", Keyed(0))
    known = canvas.valid[0] & ~made.hit[0]
    seen = Topological("prefix").ordered(canvas, made, made.hit, place).mask()[0]
    assert bool(seen[known][:, known].all()) and not bool(seen[known][:, made.hit[0]].any())
    every = Topological("mixed").ordered(canvas, made, made.hit, place).mask()[0]
    assert bool(every[made.hit[0]].all()) and not bool(every[known][:, known].all())
    pair = TopologicalPair(prefix=True).ordered(canvas, made, made.hit, place).mask()[0, 10:, 10:]
    assert bool(pair[known][:, known].all())


def test_orders_keep_their_diffusion_part_and_sort_the_rest() -> None:
    canvas = make((0,) * 4, (9,) * 4)
    place = drawn_order(canvas, torch.tensor([[0], [3], [9], [5]]), Keyed(3))
    columns = place.argsort(1)
    for row, known in enumerate((0, 3, 9, 5)):
        assert bool((columns[row, known:].diff() > 0).all())
        assert sorted(columns[row].tolist()) == list(range(9))
    assert columns[2].tolist() != list(range(9))


def test_importance_weighting_lies_between_the_best_and_the_mean_order() -> None:
    log_p = torch.log(torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(0)))
    found, each = importance_weighted(log_p), -log_p.sum(-1)
    assert bool((found <= each.mean(0) + 1e-6).all()) and bool((found >= each.min(0).values).all())
    torch.testing.assert_close(found[0], -torch.log(torch.exp(-each[:, 0]).mean()))


def test_split_sends_every_row_to_one_part_and_adds_their_means() -> None:
    canvas = make((1,) * 6, (7,) * 6)
    part = Objective(normaliser=PerToken())
    model, split = backbone(), Split(0.5, part, part)
    job = split.prepare(canvas, Keyed(1), TRAITS)
    rows = [r.tolist() for r, _ in job.parts]
    assert sorted(rows[0] + rows[1]) == list(range(6)) and rows[0] and rows[1]
    found = once(split, {"main": model}, canvas, Keyed(1), TRAITS)
    wanted = sum(
        once(part, {"main": model}, Canvas(*(getattr(canvas, n)[r] for n in NAMES)), Keyed(1), TRAITS).value.item()
        for r in rows
    )
    assert found.value.item() == pytest.approx(wanted, rel=1e-5)
    assert once(Split(1.0, part, part), {"main": model}, canvas, Keyed(1), TRAITS).value.item() == pytest.approx(
        once(part, {"main": model}, canvas, Keyed(1), TRAITS).value.item(), rel=1e-6
    )


NAMES = ("tokens", "valid", "answer", "suffix", "sample", "pos")


def test_block_annealing_goes_block_by_block_from_noise_to_clean() -> None:
    schedule, place = BlockAnnealing(4, 5), torch.arange(12)
    seen = [schedule.at(torch.full((12,), step), place) for step in range(15)]
    for step, time in enumerate(seen):
        active = (time > 0) & (time < 1)
        assert active.nonzero()[:, 0].tolist() == list(range(step // 5 * 4, step // 5 * 4 + 4))
        assert bool((time[: step // 5 * 4] == 0).all()) and bool((time[step // 5 * 4 + 4 :] == 1).all())
        if step % 5:
            assert bool((time[active] < seen[step - 1][active]).all())
    assert float(seen[0][0]) == pytest.approx(1 - 1e-3) and float(seen[4][0]) == pytest.approx(1e-3)


def test_every_block_of_an_answer_is_trained_and_nothing_else() -> None:
    canvas = make((5,) * 400, (9,) * 400)
    time = BlockAnnealing(4, 3).draw(canvas, Keyed(1))
    active = (time > 0) & (time < 1) & canvas.answer
    blocks = {tuple(a.nonzero()[:, 0].tolist()) for a in active}
    assert blocks == {(5, 6, 7), (8, 9, 10, 11), (12, 13)}


def test_simple_annealing_is_the_paper_s_diagonal() -> None:
    schedule, place = SimpleAnnealing(4, 4), torch.arange(6)

    def levels(step: int) -> list[int]:
        time = schedule.at(torch.full((6,), step), place)
        grade = ((time - 1e-3) / (1 - 2e-3) * 3).round().long()
        return [-1 if t == 0 else 9 if t == 1 else int(g) for t, g in zip(time, grade, strict=True)]

    assert levels(0) == [3, 9, 9, 9, 9, 9]
    assert levels(2) == [1, 2, 3, 9, 9, 9]
    assert levels(3) == [0, 1, 2, 3, 9, 9]
    assert levels(5) == [-1, -1, 0, 1, 2, 3]
    assert SimpleAnnealing(4, 2).ramp.tolist() == [0, 0, 1, 1] and SimpleAnnealing(4, 2).stride == 2
    assert SimpleAnnealing(4, 8).ramp.tolist() == [0, 2, 5, 7]


@pytest.mark.parametrize("times", [BlockAnnealing(4, 5), SimpleAnnealing(4, 4)])
def test_only_the_active_window_is_noised_and_the_rest_behind_it_is_gone(times: BlockAnnealing) -> None:
    canvas = make((3,) * 50, (12,) * 50)
    objective = Objective(times=times, replicas=ActiveWindow(), layout=Annealed("causal"), supervise="answer")
    job = objective.prepare(canvas, Keyed(2), TRAITS)
    time = times.draw(canvas, Keyed(2))
    settled, gone = canvas.answer & (time == 0), canvas.answer & (time == 1)
    assert torch.equal(job.canvas.valid, canvas.valid & ~gone)
    assert torch.equal(job.noised.tokens[settled], canvas.tokens[settled])
    assert not bool((job.noised.hit & ~job.canvas.answer).any()) and bool(job.noised.hit.any())
    full = Annealed("causal").lay(job.canvas, job.noised, job.canvas.answer, Keyed(0)).mask()
    for row in range(5):
        there, active = job.canvas.valid[row].nonzero()[:, 0], job.canvas.answer[row]
        for i in there.tolist():
            sees = full[row, i, there]
            assert torch.equal(sees, torch.ones_like(sees) if active[i] else (there <= i) & ~active[there])


def test_nested_pairs_are_nested_and_each_at_its_own_rate() -> None:
    canvas = make((1,) * 3000, (12,) * 3000)
    objective = Objective(times=Discrete(4, UniformTimes(low=0.0)), replicas=Nested())
    both, made = objective.replicas.noise(objective, canvas, Keyed(1), TRAITS)
    high, low = (Noised(*(x[s] for x in (made.tokens, made.hit, made.time, made.rate))) for s in HALVES)
    apart = high.time > low.time
    assert bool((high.time >= low.time).all()) and not bool((low.hit & ~high.hit & apart).any())
    assert both.tokens.shape[0] == 6000 and bool(apart.any()) and bool((~apart).any())
    for part in (high, low):
        for rate in part.rate.unique().tolist():
            hits = part.hit[(part.rate == rate) & canvas.answer]
            assert float(hits.float().mean()) == pytest.approx(rate, abs=0.02)
    equal = canvas.answer & ~apart & (low.rate == 0.5)
    assert float((high.hit & low.hit)[equal].float().mean()) == pytest.approx(0.25, abs=0.03)


HALVES = (slice(0, 3000), slice(3000, 6000))


def test_step_weights_by_hand() -> None:
    time = torch.tensor([[1.0, 7.0, 20.0]]) / 20
    made = Noised(time.long(), time > 0, time, time)
    canvas, noise = make((0,), (3,)), Absorbing()
    wanted = {"remaining": [20, 14, 1], "share": [1, 0.7, 0.05], "reciprocal": [1, 1 / 7, 1 / 20], "none": [1, 1, 1]}
    for kind, values in wanted.items():
        found = StepWeight(20, kind).of(canvas, made, noise)  # type: ignore[arg-type]
        torch.testing.assert_close(found, torch.tensor([values]).float())


def test_a_lattice_is_even_whatever_its_start() -> None:
    canvas = make((1,) * 32, (3,) * 32)
    time = Lattice(16, 0.0, 1.0).draw(canvas, Keyed(3))[:, 0]
    for half in (time[:16], time[16:]):
        torch.testing.assert_close(half.sort().values.diff(), torch.full((15,), 1 / 16), rtol=1e-4, atol=1e-5)
    assert float(time[0]) != float(time[16])


def test_soft_inputs_become_the_hard_tokens_as_they_cool() -> None:
    canvas = make((3, 2), (6, 8))
    traits = Traits(mask=None, eos=(), vocab=20, noise="uniform")
    objective = Objective(noise=Gaussian(), masking=Every(), replicas=Relaxed(-10.0), supervise="answer")
    _, cold = objective.replicas.noise(objective, canvas, Keyed(1), traits)
    assert cold.soft is not None
    assert torch.equal(cold.soft.argmax(-1), cold.tokens) and torch.equal(cold.soft.max(-1).values, torch.ones(2, 10))
    assert torch.equal(cold.tokens[~canvas.answer], canvas.tokens[~canvas.answer])
    _, warm = Relaxed(0.0).noise(objective, canvas, Keyed(1), traits)
    assert warm.soft is not None and torch.equal(warm.tokens, cold.tokens)
    assert float(warm.soft[canvas.answer].max()) < 0.9
    hard = replace(objective, replicas=Objective().replicas)
    models = {"main": backbone()}
    one, two = (once(o, models, canvas, Keyed(1), traits).value.item() for o in (objective, hard))
    assert one == pytest.approx(two, rel=1e-5)
    with pytest.raises(BadInput, match="Gaussian"):
        once(replace(objective, noise=Uniform()), models, canvas, Keyed(1), traits)


def test_a_noise_learns_the_vocabulary_of_the_model_and_asks_for_it_otherwise() -> None:
    with pytest.raises(BadInput, match="vocabulary"):
        Gaussian().alpha(torch.tensor(0.5))
    noise = Gaussian().fitted(Traits(mask=3, eos=(), vocab=20))
    assert noise.vocab == 19 and math.isclose(float(noise.rate(torch.tensor(0.0))), 0.0, abs_tol=1e-2)
