"""Noise and losses: keyed corruption, at least one masked token, and the normalisers by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from redraft.models.backbone import dense
from redraft.noise.absorbing import Absorbing
from redraft.objectives import Anywhere, Canvas, Full, LowDiscrepancy, Objective, TwoStream, Window
from tests.train.small import BLOCK, MASK, backbone, make

OBJECTIVE = Objective(Absorbing(MASK), LowDiscrepancy(), Anywhere(), TwoStream(BLOCK))


def rows(canvas: Canvas, keep: list[int]) -> Canvas:
    return Canvas(*(getattr(canvas, name)[keep] for name in ("tokens", "valid", "answer", "suffix", "sample")))


@pytest.mark.parametrize("masking", [Anywhere(), Window((1, 4))])
@pytest.mark.parametrize("times", [LowDiscrepancy(), LowDiscrepancy(BLOCK)])
def test_a_sample_is_corrupted_alike_alone_and_in_any_batch(masking: Anywhere | Window, times: LowDiscrepancy) -> None:
    canvas = make((3, 6, 1, 2), (8, 7, 9, 5))
    objective = replace(OBJECTIVE, masking=masking, times=times)
    whole = objective.corrupt(canvas, 11)
    for keep in ([2], [3, 0], [1, 2, 3]):
        part = objective.corrupt(rows(canvas, keep), 11)
        assert torch.equal(part.tokens, whole.tokens[keep]) and torch.equal(part.hit, whole.hit[keep])
    other = objective.corrupt(canvas, 12)
    again = objective.corrupt(canvas, 11, draw=1)
    assert not torch.equal(other.hit, whole.hit) and not torch.equal(again.hit, whole.hit)


def test_only_answers_are_hit_at_least_one_and_at_the_drawn_rate() -> None:
    canvas = make((2,) * 4000, (10,) * 4000)
    noised = OBJECTIVE.corrupt(canvas, 1)
    assert not bool((noised.hit & ~canvas.answer).any())
    assert bool(noised.hit.any(1).all())
    assert bool((noised.tokens[noised.hit] == MASK).all())
    assert torch.equal(noised.tokens[~noised.hit], canvas.tokens[~noised.hit])
    rate = noised.rate[:, 0]
    assert abs(float(rate.mean()) - 0.5) < 0.01  # low discrepancy: far nearer than chance would be
    middle = (rate > 0.4) & (rate < 0.6)
    assert abs(float(noised.hit[middle][:, 2:].float().mean()) - 0.5) < 0.03


def test_a_window_is_known_before_and_masked_behind() -> None:
    canvas = make((3,) * 200, (20,) * 200)
    noised = replace(OBJECTIVE, masking=Window((4,))).corrupt(canvas, 2)
    for row in range(200):
        rate = noised.rate[row, 3:23]
        start = int((rate > 0).nonzero()[0])
        assert bool((rate[start + 4 :] == 1).all()) and not bool(noised.hit[row, 3 : 3 + start].any())


@pytest.mark.parametrize("normaliser", ["masked", "answer", "rows"])
@pytest.mark.parametrize("weight", ["flat", "bound"])
def test_loss_equals_the_sum_written_out(weight: str, normaliser: str) -> None:
    model, canvas = backbone(), make((3, 6), (8, 4))
    objective = replace(OBJECTIVE, layout=Full(), weight=weight, normaliser=normaliser)
    loss, means = objective.loss(model, canvas, 4)
    noised = objective.corrupt(canvas, 4)
    per_row: list[list[float]] = []
    for row in range(2):
        width = int(canvas.valid[row].sum())
        ids = noised.tokens[row, :width]
        hidden = model(model.embed(ids), torch.arange(width), dense(None, 1))
        logits = model.head(hidden).detach()
        logits[:, MASK] = float("-inf")
        each = F.cross_entropy(logits, canvas.tokens[row, :width], reduction="none")
        t = noised.rate[row, :width]
        scaled = each / t if weight == "bound" else each
        per_row.append([float(scaled[i]) for i in range(width) if bool(noised.hit[row, i])])
    total, masked = sum(map(sum, per_row)), sum(map(len, per_row))
    wanted = {
        "masked": total / masked,
        "answer": total / int(canvas.answer.sum()),
        "rows": sum(sum(r) / len(r) for r in per_row) / 2,
    }
    assert loss.item() == pytest.approx(wanted[normaliser], rel=1e-4)
    if weight == "flat":
        assert means.tolist() == pytest.approx([sum(r) / len(r) for r in per_row], rel=1e-4)


def test_low_discrepancy_times_fill_the_unit_interval() -> None:
    canvas = make((1,) * 64, (3,) * 64)
    times = LowDiscrepancy().draw(canvas, torch.tensor(0.3), 0)[:, 0].sort().values
    gaps = times.diff()
    assert float(gaps.max()) < 3 / 64 and float(times[0]) < 3 / 64 and float(times[-1]) > 1 - 3 / 64
