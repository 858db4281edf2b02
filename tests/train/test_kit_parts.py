"""Layouts, mask policies and weights that came with the recorded cases: by hand, packed, and as distributions."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from redraft.core.draws import Keyed
from redraft.core.errors import BadInput
from redraft.noise.absorbing import Absorbing
from redraft.objectives import (
    CLEAN,
    Aligned,
    Bernoulli,
    Canvas,
    Causal,
    Constant,
    CrossEntropy,
    Flat,
    Full,
    Noised,
    Objective,
    PerToken,
    Shifted,
    TwoStream,
    View,
)
from redraft.objectives.encoder_decoder import EncoderDecoder
from redraft.objectives.forcing import Annealed, Forcing
from redraft.objectives.groups import Groups
from redraft.objectives.resampled import Resampled, SomeInEachBlock
from redraft.objectives.reweight import Cart, Damped, Decay, Fixed, InverseTime, Remaining
from tests.train.small import MASK, TRAITS, backbone, lay, make


def packed(canvas: Canvas) -> Canvas:
    """All rows of a canvas one behind the other in one row, without what does not exist."""
    keep = canvas.valid.flatten()
    parts = (canvas.tokens, canvas.valid, canvas.answer, canvas.suffix, canvas.sample, canvas.place)
    return Canvas(*(x.flatten()[keep][None] for x in parts))


def wide(count: int, width: int) -> Canvas:
    return make((0,) * count, (width,) * count)


# groups


def masked(canvas: Canvas) -> Noised:
    time = torch.ones(canvas.tokens.shape)
    return Noised(torch.where(canvas.answer, MASK, canvas.tokens), canvas.answer, time, time)


def described(view: View, canvas: Canvas, row: int, document: int) -> list[tuple[int, ...]]:
    """(position, token, target's place or -1, places of the clean columns seen, columns of its own kind seen)."""
    mask, out = view.mask()[row], []
    for i in range(view.tokens.shape[1]):
        if int(view.document[row, i]) != document or int(view.stream[row, i]) == CLEAN:
            continue
        target = int(canvas.place[row, view.source[row, i]]) if bool(view.learn[row, i]) else -1
        clean = mask[i] & (view.stream[row] == CLEAN)
        assert torch.equal(view.document[row][mask[i]], torch.full((int(mask[i].sum()),), document))
        seen = tuple(view.pos[row][clean].tolist())
        own = int((mask[i] & (view.stream[row] != CLEAN)).sum())
        out.append((int(view.pos[row, i]), int(view.tokens[row, i]), target, own, *seen))
    return sorted(out)


@pytest.mark.parametrize("causal", [False, True])
def test_groups_by_hand_and_packed_alike(causal: bool) -> None:
    canvas, size = make((3, 1, 2), (6, 9, 1)), 4
    layout = Groups(size, repeat=2, causal=causal)
    one = packed(canvas)
    alone = layout.lay(canvas, masked(canvas), canvas.answer, Keyed(5))
    together = layout.lay(one, masked(one), one.answer, Keyed(5))
    for row in range(3):
        found = described(alone, canvas, row, 0)
        assert found == described(together, one, 0, row)
        answers = canvas.answer[row].nonzero().flatten().tolist()
        starts = layout.starts(canvas, Keyed(5))[row]
        starts = starts[starts >= 0]
        assert len(starts) == max(2 * len(answers) // size, 1) and len(starts.unique()) == len(starts)
        expected = []
        for a in starts.tolist():
            for k in range(size):
                token = int(canvas.tokens[row, a]) if k == 0 else MASK
                target = a + 1 + k if a + 1 + k in answers else -1
                expected.append((a + k, token, target, k + 1 if causal else size, *range(a)))
        assert found == sorted(expected)


def test_groups_predict_what_stands_one_place_ahead() -> None:
    """The loss of every group column equals the cross entropy of a forward over its prefix and group alone."""
    canvas, model = make((2, 0), (6, 7)), backbone()
    ours = Objective(
        times=Constant(1.0), layout=Groups(3, repeat=1), normaliser=PerToken("answer"), term=CrossEntropy(False)
    )
    job = ours.prepare(canvas, Keyed(2), TRAITS)
    hidden = ours.hidden({"main": model}, job)
    for row in range(2):
        for a in ours.layout.starts(canvas, Keyed(2))[row].tolist():  # type: ignore[attr-defined]
            if a < 0:
                continue
            tokens = torch.tensor([[*canvas.tokens[row, : a + 1].tolist(), MASK, MASK]])
            every = torch.ones_like(tokens, dtype=torch.bool)
            rank = torch.arange(a + 3).clamp_max(a)[None]
            alone = Canvas(tokens, every, every, ~every, torch.zeros(1, dtype=torch.int64))
            view = dataclasses.replace(lay(Causal(), alone), rank=rank, reach=rank)
            whole = Objective().hidden({"main": model}, dataclasses.replace(job, view=view, noised=masked(alone)))
            group = (job.view.pos[row] >= a) & (job.view.clique[row] >= 0) & (job.view.document[row] >= 0)
            mine = job.view.clique[row] == job.view.clique[row][group & (job.view.pos[row] == a)][0]
            torch.testing.assert_close(hidden[row][mine], whole[0, a:], rtol=1e-4, atol=1e-5)
            break


# one stream


def test_forcing_counts_blocks_from_the_answer_packed_or_not() -> None:
    canvas = make((3, 5, 0), (6, 4, 7))
    one = packed(canvas)
    alone, together = lay(Forcing(4), canvas).mask(), lay(Forcing(4), one).mask()[0]
    offset = 0
    for row in range(3):
        width = int(canvas.valid[row].sum())
        prompt = int((canvas.valid & ~canvas.answer)[row].sum())
        expected = torch.zeros(width, width, dtype=torch.bool)
        for i in range(width):
            for j in range(width):
                block = [0 if c < prompt else (c - prompt) // 4 + 1 for c in (i, j)]
                expected[i, j] = block[1] <= block[0]
        assert torch.equal(alone[row, :width, :width], expected)
        assert torch.equal(together[offset : offset + width, offset : offset + width], expected)
        offset += width
    assert int(together.sum()) == sum(
        int(alone[r, : int(n), : int(n)].sum()) for r, n in enumerate(canvas.valid.sum(1))
    )


def test_annealed_attention_goes_from_causal_to_full_and_is_packed_alike() -> None:
    canvas = make((0, 0), (40, 25))
    assert torch.equal(lay(Annealed(0.0), canvas).mask(), lay(Causal(), canvas).mask())
    assert torch.equal(lay(Annealed(1.0), canvas).mask(), lay(Full(), canvas).mask())
    half = lay(Annealed(0.3), canvas).mask()
    upper = torch.ones(40, 40).triu(1).bool()
    assert bool(half[0][~upper].all()) and 0.25 < float(half[0][upper].float().mean()) < 0.35
    assert not torch.equal(half[0, :25, :25], half[1, :25, :25])
    together = lay(Annealed(0.3), packed(canvas)).mask()[0]
    assert torch.equal(together[:40, :40], half[0]) and torch.equal(together[40:, 40:], half[1, :25, :25])
    assert not bool(together[:40, 40:].any()) and not bool(together[40:, :40].any())
    with pytest.raises(BadInput, match="one stream"):
        lay(Annealed(0.5, TwoStream(4)), canvas)


def test_annealed_trimming_changes_no_output() -> None:
    canvas, model = make((0, 0), (9, 6)), backbone()
    ours = Objective(layout=Annealed(0.4), target=Shifted(), normaliser=PerToken("learned"))
    job = ours.prepare(canvas, Keyed(3), TRAITS)
    view = ours.layout.lay(canvas, job.noised, ours.learned(canvas, job.noised), Keyed(3))
    full = Objective.hidden(ours, {"main": model}, dataclasses.replace(job, view=view))
    small = ours.hidden({"main": model}, job)
    for reading in job.readings:
        wanted = full[reading.row, view.before[reading.row, reading.column]]
        torch.testing.assert_close(small[reading.row, reading.at], wanted, rtol=1e-4, atol=1e-5)


def test_the_encoder_sees_the_whole_prompt_or_blocks_of_it() -> None:
    canvas = make((5, 0), (6, 9))
    two = lay(TwoStream(4), canvas)
    assert torch.equal(lay(EncoderDecoder(4, whole=False), canvas).mask(), two.mask())
    more = lay(EncoderDecoder(4), canvas).mask() & ~two.mask()
    width = canvas.tokens.shape[1]
    pairs = {(i - width, j - width) for i, j in more[0].nonzero().tolist()}
    assert pairs == {
        (i, 4) for i in range(4)
    }  # clean prompt columns of the first block, the prompt's column of the second
    assert not bool(more[1].any())


# masks


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.8), (0.0, 0.5), (0.45, 1.0)])
def test_blocks_are_drawn_until_their_share_is_inside_the_bounds(low: float, high: float) -> None:
    canvas = wide(300, 24)
    rate = torch.full(canvas.tokens.shape, 0.5)
    hit = Resampled(8, low, high).hits(canvas, rate, Keyed(1))
    share = hit.view(300, 3, 8).float().mean(-1)
    assert float(share.min()) >= low and float(share.max()) <= high
    first = Bernoulli().hits(canvas, rate, Keyed(1))
    inside = first.view(300, 3, 8).float().mean(-1)
    kept = (inside >= low) & (inside <= high)
    assert torch.equal(hit.view(300, 3, 8)[kept], first.view(300, 3, 8)[kept])


def test_bounds_that_cannot_be_met_end() -> None:
    canvas = wide(4, 8)
    hit = Resampled(8, 0.9, 0.95, tries=20).hits(canvas, torch.full(canvas.tokens.shape, 0.1), Keyed(0))
    assert hit.shape == canvas.tokens.shape


def test_missed_blocks_get_one_to_all_masks_each_number_and_place_alike() -> None:
    canvas = wide(3000, 8)
    hit = SomeInEachBlock(4).hits(canvas, torch.full(canvas.tokens.shape, 1e-9), Keyed(2)).view(3000, 2, 4)
    numbers = hit.sum(-1).flatten().bincount(minlength=5)
    assert int(numbers[0]) == 0 and all(abs(int(n) - 1500) < 150 for n in numbers[1:])
    assert all(abs(int(n) - 3750) < 200 for n in hit.sum((0, 1)))


def test_blocks_with_context_are_left_as_they_are() -> None:
    canvas = make((2, 0), (6, 8))
    hit = SomeInEachBlock(4).hits(canvas, torch.full(canvas.tokens.shape, 1e-9), Keyed(2))
    assert not bool(hit[0, :4].any()) and bool(hit[0, 4:].any()) and bool(hit[1, :4].any()) and bool(hit[1, 4:].any())


# weights and what is counted


def cart(hit: Tensor, canvas: Canvas, p: float) -> Tensor:
    out = torch.zeros(hit.shape)
    for row, i in hit.nonzero().tolist():
        for j in range(hit.shape[1]):
            if not hit[row, j] and canvas.document[row, j] == canvas.document[row, i]:
                out[row, i] += 0.5 * p * (1 - p) ** (abs(i - j) - 1)
    return out


def test_cart_by_hand_and_documents_are_no_context_of_each_other() -> None:
    canvas = packed(make((2, 1), (6, 5)))
    hit = (torch.rand(canvas.tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.5) & canvas.answer
    time = torch.full(canvas.tokens.shape, 0.5)
    for p in (0.3, 0.8):
        found = Cart(p).of(canvas, Noised(canvas.tokens, hit, time, time), Absorbing())
        torch.testing.assert_close(found, cart(hit, canvas, p))


def test_weights_by_their_formulas() -> None:
    canvas = wide(1, 4)
    time = torch.tensor([[0.1, 0.4, 0.7, 0.9]])
    noise = Absorbing()
    noised = Noised(canvas.tokens, canvas.answer, time, noise.rate(time))
    found = [w.of(canvas, noised, noise) for w in (Fixed(2.5), Damped(0.1), Decay(), InverseTime(), Remaining())]
    wanted = [torch.full_like(time, 2.5), 1 / (time + 0.1), 1 / (1 - time), 1 / time, 1 - time]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_what_no_output_predicts_is_not_counted() -> None:
    """DiffuLLaMA's and Dream's #masked: the first column is masked and neither learned nor counted."""
    canvas = make((0, 0, 1), (5, 3, 4))
    shifted = Objective(times=Constant(1.0), target=Shifted(), weight=Flat(), normaliser=PerToken("learned"))
    assert int(shifted.prepare(canvas, Keyed(0), TRAITS).readings[0].count) == 4 + 2 + 4
    aligned = dataclasses.replace(shifted, target=Aligned())
    assert int(aligned.prepare(canvas, Keyed(0), TRAITS).readings[0].count) == 5 + 3 + 4
