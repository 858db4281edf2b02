"""Noise and losses: keyed corruption, at least one masked token, and the normalisers by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from redraft.core.draws import Keyed
from redraft.models.backbone import dense
from redraft.objectives import (
    AtLeastOne,
    Bound,
    Canvas,
    Flat,
    Full,
    LowDiscrepancy,
    Masking,
    Normaliser,
    Objective,
    PerDocument,
    PerToken,
    TwoStream,
    Weight,
    Window,
)
from tests.train.small import BLOCK, MASK, TRAITS, backbone, make

OBJECTIVE = Objective(masking=AtLeastOne(), layout=TwoStream(BLOCK))


def rows(canvas: Canvas, keep: list[int]) -> Canvas:
    return Canvas(*(getattr(canvas, name)[keep] for name in ("tokens", "valid", "answer", "suffix", "sample")))


@pytest.mark.parametrize("masking", [AtLeastOne(), AtLeastOne(Window((1, 4)))])
@pytest.mark.parametrize("times", [LowDiscrepancy(), LowDiscrepancy(BLOCK)])
def test_a_sample_is_corrupted_alike_alone_and_in_any_batch(masking: Masking, times: LowDiscrepancy) -> None:
    canvas = make((3, 6, 1, 2), (8, 7, 9, 5))
    objective = replace(OBJECTIVE, masking=masking, times=times)
    whole = objective.corrupt(canvas, Keyed(11), TRAITS)
    for keep in ([2], [3, 0], [1, 2, 3]):
        part = objective.corrupt(rows(canvas, keep), Keyed(11), TRAITS)
        assert torch.equal(part.tokens, whole.tokens[keep]) and torch.equal(part.hit, whole.hit[keep])
    other = objective.corrupt(canvas, Keyed(12), TRAITS)
    again = objective.corrupt(canvas, Keyed(11, 1), TRAITS)
    assert not torch.equal(other.hit, whole.hit) and not torch.equal(again.hit, whole.hit)


def test_only_answers_are_hit_at_least_one_and_at_the_drawn_rate() -> None:
    canvas = make((2,) * 4000, (10,) * 4000)
    noised = OBJECTIVE.corrupt(canvas, Keyed(1), TRAITS)
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
    noised = replace(OBJECTIVE, masking=Window((4,))).corrupt(canvas, Keyed(2), TRAITS)
    start = 3 + (Keyed(2).document(canvas, "start")[:, :1] * 20).long()
    column = torch.arange(23)
    assert not bool((noised.hit & (column < start)).any())
    assert bool((noised.hit | (column < start + 4)).all())
    inside = (column >= start) & (column < start + 4)
    share = (noised.hit & inside).sum(1) / inside.sum(1)
    assert abs(float((share - noised.rate[:, 0]).mean())) < 0.05 and len(start.unique()) > 15


@pytest.mark.parametrize("normaliser", [PerToken("learned"), PerToken("answer"), PerDocument("learned")])
@pytest.mark.parametrize("weight", [Flat(), Bound()])
def test_loss_equals_the_sum_written_out(weight: Weight, normaliser: Normaliser) -> None:
    model, canvas = backbone(), make((3, 6), (8, 4))
    objective = replace(OBJECTIVE, layout=Full(), weight=weight, normaliser=normaliser)
    found = objective.loss(model, canvas, 4, TRAITS)
    noised = objective.corrupt(canvas, Keyed(4), TRAITS)
    per_row: list[list[float]] = []
    for row in range(2):
        width = int(canvas.valid[row].sum())
        ids = noised.tokens[row, :width]
        hidden = model(model.embed(ids), torch.arange(width), dense(None, 1))
        logits = model.head(hidden).detach()
        logits[:, MASK] = float("-inf")
        each = F.cross_entropy(logits, canvas.tokens[row, :width], reduction="none")
        seen = noised.hit[row, :width]
        assert found.each is not None
        torch.testing.assert_close(found.each[row, :width][seen], each[seen], rtol=1e-4, atol=1e-5)
        assert int((~found.each[row].isnan()).sum()) == int(seen.sum())
        scaled = each / noised.time[row, :width] if isinstance(weight, Bound) else each
        per_row.append([float(scaled[i]) for i in range(width) if bool(seen[i])])
    total, masked = sum(map(sum, per_row)), sum(map(len, per_row))
    wanted = {
        PerToken("learned"): total / masked,
        PerToken("answer"): total / int(canvas.answer.sum()),
        PerDocument("learned"): sum(sum(r) / len(r) for r in per_row) / 2,
    }
    assert found.value.item() == pytest.approx(wanted[normaliser], rel=1e-4)


def test_low_discrepancy_times_fill_the_unit_interval() -> None:
    canvas = make((1,) * 64, (3,) * 64)
    times = LowDiscrepancy().draw(canvas, Keyed(0))[:, 0].sort().values
    gaps = times.diff()
    assert float(gaps.max()) < 3 / 64 and float(times[0]) < 3 / 64 and float(times[-1]) > 1 - 3 / 64
