"""The layouts' masks against masks written out pair by pair from the definition in words."""

from __future__ import annotations

import torch

from redraft.core.draws import Keyed
from redraft.models.backbone import Backbone, dense
from redraft.objectives import AtLeastOne, Full, LowDiscrepancy, Objective, TwoStream, View, Window
from tests.train.small import BLOCK, TRAITS, backbone, lay, make


def test_two_stream_is_noisy_block_plus_clean_blocks_before() -> None:
    canvas = make((3, 6), (8, 7))
    width = canvas.tokens.shape[1]
    found = lay(TwoStream(BLOCK), canvas).mask()
    for row in range(2):
        for i in range(2 * width):
            for j in range(2 * width):
                pi, pj = i % width, j % width
                if not (canvas.valid[row, pi] and canvas.valid[row, pj]):
                    assert bool(found[row, i, j]) == (i == j)
                    continue
                bi, bj = pi // BLOCK, pj // BLOCK
                if i < width:
                    wanted = bi == bj if j < width else bj < bi
                else:
                    wanted = j >= width and bj <= bi
                assert bool(found[row, i, j]) == wanted, (row, i, j)


def test_full_is_everyone_or_block_causal() -> None:
    canvas = make((3,), (8,))
    everyone = lay(Full(), canvas).mask()
    assert bool(everyone.all())
    causal = lay(Full(BLOCK), canvas).mask()
    for i in range(11):
        for j in range(11):
            assert bool(causal[0, i, j]) == (j // BLOCK <= i // BLOCK)


def test_a_suffix_is_context_that_never_sees_the_gap() -> None:
    canvas = make((6,), (5,), (4,))
    prompt, gap, suffix = range(6), range(6, 11), range(11, 15)
    for layout in (Full(BLOCK), TwoStream(BLOCK)):
        view = lay(layout, canvas)
        seen = view.mask()[0]
        clean = 15 if isinstance(layout, TwoStream) else 0
        for i in gap:
            assert all(bool(seen[i, clean + j]) for j in (*prompt, *suffix))
        for i in suffix:
            assert all(bool(seen[clean + i, clean + j]) for j in (*prompt, *suffix))
            assert not any(bool(seen[clean + i, j]) for j in gap)
            assert not any(bool(seen[clean + i, clean + j]) for j in gap)


def test_ranks_equal_decodings_default_sight() -> None:
    from redraft.objectives.layouts import block_ranks

    canvas = make((6, 2, 5), (5, 9, 4), (4, 0, 1))
    for row, (start, end) in enumerate(((6, 11), (2, 11), (5, 9))):
        ranks = block_ranks(canvas, BLOCK)[row]
        for j in range(int(canvas.valid[row].sum())):
            wanted = j // BLOCK
            if bool(canvas.suffix[row].any()):
                below = start // BLOCK - 1
                wanted = below if j >= end else min(wanted, below) if j < start else wanted
            assert int(ranks[j]) == wanted


def logits_at(view: View, row: int, column: int, model: Backbone) -> torch.Tensor:
    hidden = model(model.embed(view.tokens.flatten()), view.pos.flatten(), dense(view.mask(), len(view.tokens)))
    place = ((view.source[row] == column) & view.learn[row]).nonzero()[0, 0]
    return model.head(hidden.view(*view.tokens.shape, -1)[row, place])


def test_trimming_changes_no_learned_column() -> None:
    model = backbone()
    for canvas in (make((3, 6), (8, 7)), make((6, 1), (5, 6), (4, 3))):
        for layout in (TwoStream(BLOCK), Full(BLOCK)):
            objective = Objective(masking=AtLeastOne(Window((2, 4))), layout=layout)
            noised = objective.corrupt(canvas, Keyed(5), TRAITS)
            whole = lay(layout, canvas, noised.tokens, noised.hit)
            small, _ = whole.trimmed(whole.learn)
            assert small.tokens.shape[1] <= whole.tokens.shape[1]
            assert int(small.learn.sum()) == int(noised.hit.sum())
            for row, column in noised.hit.nonzero().tolist():
                torch.testing.assert_close(
                    logits_at(small, row, column, model), logits_at(whole, row, column, model), rtol=1e-4, atol=1e-5
                )


def test_two_stream_block_equals_the_block_alone_behind_its_clean_prefix() -> None:
    model, canvas = backbone(), make((3,), (12,))
    objective = Objective(times=LowDiscrepancy(BLOCK), masking=AtLeastOne(), layout=TwoStream(BLOCK))
    job = objective.prepare(canvas, Keyed(3), TRAITS)
    for _, column in job.noised.hit.nonzero().tolist():
        start = column // BLOCK * BLOCK
        tokens = canvas.tokens.clone()
        tokens[:, start:] = job.noised.tokens[:, start:]
        only = torch.zeros_like(job.noised.hit)
        only[0, column] = True
        alone = lay(Full(BLOCK), canvas, tokens, only)
        torch.testing.assert_close(
            logits_at(job.view, 0, column, model), logits_at(alone, 0, column, model), rtol=1e-4, atol=1e-5
        )
