"""The field's known bugs, one test each that would fail had we inherited it.

From ../shared/field/training.md 4.9 and "Bugs and traps" in ../shared/kit/train/README.md. What belongs to distillation,
preference optimisation and reinforcement learning comes with those.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from redraft.core.draws import Keyed
from redraft.core.traits import Traits
from redraft.noise import schedules
from redraft.noise.absorbing import Absorbing
from redraft.noise.gaussian import Gaussian
from redraft.noise.hybrid import Hybrid
from redraft.noise.schedules import Cosine, Linear
from redraft.noise.uniform import Uniform
from redraft.objectives import (
    AtLeastOne,
    Bernoulli,
    Bound,
    Canvas,
    CrossEntropy,
    Full,
    LowDiscrepancy,
    Objective,
    PerDocument,
    Stratified,
    TwoStream,
    Window,
)
from redraft.objectives.bounds import HybridBound, UniformBound
from redraft.objectives.likelihood import Blockwise, ExactCount
from redraft.objectives.readings import Targets
from redraft.objectives.reweight import Cart
from redraft.objectives.times import Uniform as Times
from redraft.recipes.recipe import Rows
from redraft.train.data import Document, Special
from redraft.train.data import canvas as canvas_of
from redraft.train.data.rows import rows
from tests.train.small import MASK, backbone, make

VOCAB = 20
TRAITS = Traits(MASK, (1,), VOCAB)


def padded(canvas: Canvas, num: int, token: int) -> Canvas:
    """The canvas with `num` more columns that do not exist, showing `token`."""

    def wider(x: Tensor, fill: Any) -> Tensor:
        return torch.cat((x, torch.full((len(x), num), fill, dtype=x.dtype)), 1)

    off = [wider(x, False) for x in (canvas.valid, canvas.answer, canvas.suffix)]
    return Canvas(wider(canvas.tokens, token), *off, canvas.sample[:, 0])


def loss(objective: Objective, canvas: Canvas, seed: int = 0) -> float:
    return objective.loss(backbone(), canvas, seed, TRAITS).value.item()


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_cart_counts_the_nearest_context_most() -> None:
    """dllm #92 subtracted one from the distance twice: the token right beside a mask weighed nothing."""
    canvas = make((1,), (5,))
    hit = torch.tensor([[False, True, False, True, True, True]])
    half = torch.full((1, 6), 0.5)
    noised = Objective().corrupt(canvas, Keyed(0), TRAITS)
    noised = replace(noised, hit=hit, time=half, rate=half)
    p = 0.3
    geometric = {d: 0.5 * p * (1 - p) ** (d - 1) for d in range(1, 6)}
    weight = Cart(p).of(canvas, noised, Absorbing())[0]
    assert float(weight[1]) == pytest.approx(geometric[1] + geometric[1])
    assert float(weight[3]) == pytest.approx(geometric[3] + geometric[1])
    assert float(weight[5]) == pytest.approx(geometric[5] + geometric[3])


def test_the_bounds_weight_is_not_dropped() -> None:
    """E2D2's released loss is a plain masked mean although its paper weighs by 1/t."""
    canvas = make((2,), (8,))
    objective = Objective(times=Times(low=0.25, high=0.25), weight=Bound(), normaliser=PerDocument("answer"))
    plain = replace(objective, weight=Objective().weight)
    assert loss(objective, canvas) == pytest.approx(4 * loss(plain, canvas), rel=1e-5)


def schedule_values() -> list[Any]:
    """Every schedule of noise/schedules.py with its defaults, and some more."""
    own = [one for _, one in inspect.getmembers(schedules, inspect.isclass) if one.__module__ == schedules.__name__]
    found = [one() for one in own if one is not schedules.Schedule]
    return [*found, Linear(1e-3), Cosine(1e-4), *(Gaussian(vocab=50, map=m) for m in ("table", "series", "polynomial"))]


@pytest.mark.parametrize("schedule", schedule_values(), ids=repr)
def test_slopes_are_the_derivatives_of_alpha(schedule: Any) -> None:
    """Duo's sigmoid slope is half the true one, its cosine slope lacks 1 - eps, E2D2's exponential swaps the two."""
    t = torch.linspace(0.07, 0.93, 27, dtype=torch.float64)
    alpha, slope, step = schedule.alpha(t), schedule.slope(t), 1e-5
    assert ((alpha >= 0) & (alpha <= 1)).all() and (slope <= 0).all()
    measured = (schedule.alpha(t + step) - schedule.alpha(t - step)) / (2 * step)
    kink = (schedule.alpha(t + 3 * step) - 2 * alpha + schedule.alpha(t - 3 * step)).abs() > 1e-7
    assert torch.allclose(slope[~kink], measured[~kink], rtol=1e-3, atol=1e-6) and kink.sum() <= 2


# ---- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [Times(4, low=0.0), LowDiscrepancy(4), Stratified(4, 4, 6)], ids=repr)
def test_every_block_has_a_time_of_its_own(times: Any) -> None:
    """dllm draws one time a sequence where BD3-LM's bound has one a block."""
    canvas = make((0,) * 50, (24,) * 50)
    drawn = times.draw(canvas, Keyed(3)).unflatten(1, (6, 4))
    assert (drawn == drawn[:, :, :1]).all()
    assert (drawn[:, :, 0].diff(dim=1) != 0).all()
    together = torch.corrcoef(drawn[:, :, 0].T)
    assert float((together - torch.eye(6)).abs().mean()) < 0.5


@pytest.mark.parametrize("size", [1, 4])
def test_strata_are_permuted(size: int) -> None:
    """bd3lms lays strata out by block: at batch 1 the first block's mean time is .06 and the eighth's .94."""
    num = 2000
    canvas = Canvas(
        torch.zeros(num, 32, dtype=torch.int64),
        *(torch.ones(num, 32, dtype=torch.bool),) * 2,
        torch.zeros(num, 32, dtype=torch.bool),
        torch.arange(num),
    )
    drawn = Stratified(size, 4, 8).draw(canvas, Keyed(1))[:, ::4]
    assert float((drawn.mean(0) - 0.5).abs().max()) < 0.03
    spread = drawn.view(-1, 8 * size).sort(1).values
    stratum = (spread * 8 * size).clamp_max(8 * size - 1e-3).long()
    assert (
        stratum == torch.arange(8 * size)
    ).double().mean() > 0.97  # one of each, whoever has it (low cuts the first)


def test_the_noise_has_its_own_generator() -> None:
    """diffu-GRPO in dllm seeds torch globally before each forward."""
    model, canvas = backbone(), make((2, 3), (8, 6))
    before = torch.get_rng_state()
    Objective(masking=AtLeastOne(), layout=TwoStream(4)).loss(model, canvas, 0, TRAITS)
    ExactCount().estimate(model, canvas, TRAITS, 0, 4)
    assert torch.equal(torch.get_rng_state(), before)


# ---- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masking", [Window((4,)), AtLeastOne(Window((4,))), AtLeastOne(), Bernoulli()], ids=repr)
def test_rows_do_not_overwrite_each_others_masks(masking: Any) -> None:
    """dParallel's loop over rows writes all rows: at batch 3 prompts get masked and only the last row keeps its tail."""
    prompt, answer = (2, 5, 7), (12, 9, 6)
    canvas = make(prompt, answer)
    whole = Objective(masking=masking).corrupt(canvas, Keyed(4), TRAITS)
    assert not bool((whole.hit & ~canvas.answer).any())
    assert torch.equal(whole.tokens[~whole.hit], canvas.tokens[~whole.hit])
    for row in range(3):
        parts = (canvas.tokens, canvas.valid, canvas.answer, canvas.suffix, canvas.sample)
        alone = Objective(masking=masking).corrupt(Canvas(*(x[row : row + 1] for x in parts)), Keyed(4), TRAITS)
        assert torch.equal(alone.hit[0], whole.hit[row])


@pytest.mark.parametrize("masking", [AtLeastOne(Window((4,))), AtLeastOne(), AtLeastOne(block=4)], ids=repr)
def test_no_row_is_left_without_a_target(masking: Any) -> None:
    """d3LLM's randint includes its upper end: where the answer's length divides by the block, a row may have none."""
    canvas = make((2,) * 400, (8,) * 400)
    noised = Objective(masking=masking, times=Times(low=1e-3, high=0.05)).corrupt(canvas, Keyed(6), TRAITS)
    assert bool(noised.hit.any(1).all())


def test_random_tokens_are_the_true_one_as_often_as_the_schedule_says() -> None:
    """Duo's efficient curriculum keeps x0 whenever it is among the top k: .77 of the time where alpha says .21."""
    traits = Traits(None, (), 50)
    canvas = make((0,) * 3000, (10,) * 3000)
    noise = Gaussian().fitted(traits)
    for gamma in (0.2, 0.8):
        time = torch.full(canvas.tokens.shape, gamma)
        alpha = float(noise.alpha(time[:1, :1]))
        seen = noise.fill(canvas, canvas.tokens, canvas.answer, time, Keyed(2), traits)
        same = float((seen == canvas.tokens).double().mean())
        assert same == pytest.approx(alpha + (1 - alpha) / 50, abs=4 * 0.5 / 30000**0.5)


def test_the_uniform_loss_knows_the_noises_own_schedule() -> None:
    """UDLM's loss has alpha = 1 - t built in while its noise follows (1 - eps) t."""
    logits = torch.randn(6, VOCAB, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(3, 9)
    t = torch.full((6,), 0.6)

    def value(eps: float, time: Tensor) -> Tensor:
        noise = Uniform(Linear(eps))
        targets = Targets(ids, ids.flip(0), time, noise.rate(time), ids > 0, noise, TRAITS)
        return UniformBound().each(logits, targets)

    eps = 0.3  # at time t with eps the noise is that of time (1 - eps) t without, run at 1 - eps of the speed
    assert torch.allclose(value(eps, t), (1 - eps) * value(0.0, (1 - eps) * t), rtol=1e-4)


# ---- normalisers, padding, ends --------------------------------------------------------------------------------------

PADDING = [
    Objective(),
    Objective(weight=Bound(), normaliser=PerDocument("answer")),
    Objective(layout=TwoStream(4)),
    Objective(layout=Full(4)),
    Objective(noise=Hybrid(0.2), term=HybridBound(), supervise="answer", normaliser=PerDocument("answer")),
    Objective(noise=Uniform(), term=UniformBound(), supervise="answer", normaliser=PerDocument("answer")),
]


@pytest.mark.parametrize("objective", PADDING, ids=lambda one: f"{type(one.noise).__name__}-{one.layout!r}")
def test_padding_changes_no_loss(objective: Objective) -> None:
    """GIDD drops the attention mask, DARE's VRPO divides by the padded length, dllm's BD3LM lets padding be attended."""
    canvas = make((3, 3), (8, 5))
    plain = loss(objective, canvas)
    for token in (0, 7):
        assert loss(objective, padded(canvas, 5, token)) == pytest.approx(plain, rel=1e-5)


def test_padding_changes_no_likelihood() -> None:
    canvas = make((3,), (8,))
    plain = ExactCount().estimate(backbone(), canvas, TRAITS, 0, 8).value
    assert torch.allclose(ExactCount().estimate(backbone(), padded(canvas, 5, 7), TRAITS, 0, 8).value, plain, atol=1e-5)


def test_ends_are_supervised_as_named_and_never_silently() -> None:
    """dFactory pads with end tokens that are attended and learned; D2F's `== False` leaves end-only blocks supervised."""
    special = Special(eos=1, pad=0, mask=MASK)
    documents = [Document(0, [5, 6, 7], [False, True, True]), Document(1, [5] * 9, [False] + [True] * 8)]
    learned = {}
    for end in ("first", "all", "none"):
        settings = Rows(context=16, end=end)  # type: ignore[arg-type]
        canvas = canvas_of(rows(documents, settings, special), special)
        is_end = canvas.answer & (canvas.tokens == 1)
        learned[end] = is_end.sum(1).tolist()
        assert not bool((canvas.answer & ~canvas.valid).any())
    assert learned == {"first": [1, 1], "all": [7, 1], "none": [0, 0]}
    settings = Rows(context=16, end="first")
    canvas = canvas_of(rows(documents, settings, special), special)
    blocks = (canvas.answer[0] & canvas.valid[0])[4:].any()
    assert not bool(blocks), "a block behind the end has nothing to learn"


# ---- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [24, 16, 10])
def test_blocks_are_counted_alike_in_training_and_evaluation(length: int) -> None:
    """E2D2's evaluation draws eval_block ** 2 times: it runs only where that equals the length."""
    canvas = make((0, 0), (length, length))
    model, block = backbone(), 4
    traits = replace(TRAITS, attention="block", block=block)
    for training in (True, False):
        model.train(training)
        times = LowDiscrepancy(block).draw(canvas, Keyed(0))
        assert len(times[0].unique()) == -(-length // block)
        found = Blockwise().estimate(model, canvas, traits, 0, 8)
        assert found.each is not None and found.each.shape == (2, length) and bool((found.each < 0).all())


@pytest.mark.parametrize(("length", "block"), [(10, 4), (7, 2), (9, 3), (5, 8)])
def test_block_masks_hold_where_the_block_does_not_divide_the_row(length: int, block: int) -> None:
    """bd3lms #23: its compiled block mask assumes sizes that divide."""
    canvas = make((0,), (length,))
    noised = Objective().corrupt(canvas, Keyed(0), TRAITS)
    view = TwoStream(block).lay(canvas, noised, noised.hit, Keyed(0))
    mask = view.mask()[0]
    for q in range(2 * length):
        for k in range(2 * length):
            bq, bk = q % length // block, k % length // block
            noisy_q, noisy_k = q < length, k < length
            sees = bq == bk if noisy_q and noisy_k else (bq > bk if noisy_q else not noisy_k and bq >= bk)
            assert bool(mask[q, k]) == sees, (q, k)


# ---- what is scored --------------------------------------------------------------------------------------------------


def test_the_prefix_is_not_scored() -> None:
    """Duo's harness scores prefix and answer together; LLaDA's and ours, the answer given the prefix."""
    canvas = make((4,), (6,))
    found = ExactCount().estimate(backbone(), canvas, TRAITS, 0, 8)
    assert found.num_tokens.tolist() == [6] and found.each is not None
    assert not bool(found.each[:, :4].any()) and bool((found.each[:, 4:] < 0).all())


def test_the_mask_is_no_answer() -> None:
    """dllm trains with the mask's logit inside the softmax, and decodes without."""
    logits = torch.randn(5, VOCAB, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(3, 8)
    half = torch.full((5,), 0.5)
    targets = Targets(ids, torch.full_like(ids, MASK), half, half, ids > 0, Absorbing(), TRAITS)
    louder = logits.clone()
    louder[:, MASK] += 30.0
    assert torch.equal(CrossEntropy().each(louder, targets), CrossEntropy().each(logits, targets))


def test_losses_are_negative_log_likelihoods() -> None:
    """discrete-diffusion-guidance returns + log p for absorbing noise with the simple loss."""
    canvas = make((1,) * 4, (6,) * 4)
    for objective in (Objective(), Objective(noise=Uniform(), term=CrossEntropy())):
        found = objective.loss(backbone(), canvas, 0, TRAITS)
        assert found.value.item() > 0 and found.each is not None
        assert bool((found.each[~found.each.isnan()] > 0).all())


def test_any_number_of_samples_will_do() -> None:
    """dllm's harness asserts that samples divide by the batch; MDPO's and others break on more than one group."""
    canvas = make((1,) * 3, (5, 6, 7))
    for num in (2, 3, 7):
        found = ExactCount().estimate(backbone(), canvas, TRAITS, 0, num, rows=4)
        assert bool(found.value.isfinite().all())


def test_the_head_runs_only_where_a_loss_is_taken() -> None:
    """dllm's BD3LM runs the head over both streams and throws half away."""
    canvas = make((2,) * 3, (8,) * 3)
    model, rows_seen = backbone(), []
    head = model.head

    def counted(hidden: Tensor) -> Tensor:
        rows_seen.append(len(hidden))
        return head(hidden)

    model.head = counted  # type: ignore[method-assign]
    objective = Objective(layout=TwoStream(4))
    job = objective.prepare(canvas, Keyed(0), TRAITS)
    objective.run({"main": model}, job, job.counts)
    assert sum(rows_seen) == int(job.noised.hit.sum())
