"""Layouts of models adapted from autoregressive ones: masks written out, equality with the sequential definition and, at
block 1, with the autoregressive model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from redraft.core.draws import Keyed
from redraft.models.backbone import Backbone, BackboneConfig, dense
from redraft.noise.absorbing import Clean
from redraft.objectives import (
    CLEAN,
    NOISED,
    AtLeastOne,
    Canvas,
    Causal,
    Certainty,
    Complementary,
    Constant,
    ExactCount,
    InverseRate,
    LowDiscrepancy,
    NextToken,
    Noised,
    Objective,
    Ordered,
    PerWeight,
    Resembling,
    Shifted,
    TwoStream,
    View,
    once,
)
from redraft.objectives.groups import Groups
from redraft.objectives.objective import Job
from tests.train.small import BLOCK, MASK, TRAITS, backbone, make

TIGHT = {"rtol": 1e-5, "atol": 1e-5}


def wide() -> Backbone:
    """A backbone with random weights everywhere, untied and with a head of its own."""
    torch.manual_seed(3)
    model = Backbone(BackboneConfig(20, 24, 48, 2, 2, 2, 12, qk_norm=False, tie_embeddings=False))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def noised(canvas: Canvas, hits: list[list[int]]) -> Noised:
    hit = torch.tensor(hits, dtype=torch.bool) & canvas.answer
    half = torch.full(hit.shape, 0.5)
    return Noised(torch.where(hit, MASK, canvas.tokens), hit, half, half)


def laid(layout: Any, canvas: Canvas, hits: list[list[int]]) -> View:
    z = noised(canvas, hits)
    view: View = layout.lay(canvas, z, z.hit, Keyed(0))
    return view


def written(text: str) -> Tensor:
    return torch.tensor([[c == "1" for c in line] for line in text.split()])


PACKED = Canvas(
    torch.tensor([[3, 4, 5, 6, 7, 8]]),
    torch.tensor([[True, True, True, True, True, False]]),
    torch.tensor([[True, True, True, True, True, False]]),
    torch.zeros(1, 6, dtype=torch.bool),
    torch.tensor([[7, 7, 7, 8, 8, 8]]),
    torch.tensor([[0, 1, 2, 0, 1, 2]]),
)  # documents of 3 and 2 places, one column of padding

# noised columns first, then clean ones
CONTEXT_CAUSAL = """
110000 000000
110000 000000
001100 110000
001100 110000
000011 111100
000011 111100
000000 100000
000000 110000
000000 111000
000000 111100
000000 111110
000000 111111
"""
BLOCK_CAUSAL = """
110000 000000
110000 000000
001100 110000
001100 110000
000011 111100
000011 111100
000000 110000
000000 110000
000000 111100
000000 111100
000000 111111
000000 111111
"""
PLACE = """
100000 000000
110000 000000
001000 110000
001100 110000
000010 111100
000011 111100
000000 100000
000000 110000
000000 111000
000000 111100
000000 111110
000000 111111
"""
# blocks of 3, hits 1, 2 | 3, 5: the order is 0 1 2 | 4 3 5
OBSERVED = """
100000 000000
110000 000000
111000 000000
000110 111000
000010 111000
000111 111000
000000 100000
000000 110000
000000 111000
000000 111100
000000 111110
000000 111111
"""
CAUSAL = """
100000
110000
111000
111100
111110
111111
"""
# documents 0-2 and 3-4, padding sees itself; blocks of 2
PACKED_CAUSAL = """
110000 000000
110000 000000
001000 110000
000110 000000
000110 000000
000001 000000
000000 100000
000000 110000
000000 111000
000000 000100
000000 000110
000000 000001
"""
# hits 0 | 2 and 3 in the documents: the orders are 1 0 | 2 and 0 1
PACKED_OBSERVED = """
110000 000000
010000 000000
001000 110000
000110 000000
000010 000000
000001 000000
000000 100000
000000 110000
000000 111000
000000 000100
000000 000110
000000 000001
"""
NONE = [[0] * 6]


@pytest.mark.parametrize(
    ("layout", "canvas", "hits", "text"),
    [
        (TwoStream(2, causal=True), None, NONE, CONTEXT_CAUSAL),
        (TwoStream(2, causal=True, bridge=True), None, NONE, CONTEXT_CAUSAL),
        (TwoStream(2), None, NONE, BLOCK_CAUSAL),
        (Ordered(2, "place"), None, NONE, PLACE),
        (Ordered(3, "observed"), None, [[0, 1, 1, 1, 0, 1]], OBSERVED),
        (Causal(), None, NONE, CAUSAL),
        (TwoStream(2, causal=True), PACKED, NONE, PACKED_CAUSAL),
        (Ordered(2, "observed"), PACKED, [[1, 0, 1, 1, 0, 0]], PACKED_OBSERVED),
    ],
    ids=["context", "bridge", "blocks", "idlm", "wedlm", "card", "context packed", "wedlm packed"],
)
def test_masks_written_out(layout: Any, canvas: Canvas | None, hits: list[list[int]], text: str) -> None:
    canvas = canvas or make((0,), (6,))
    lines = written(text.replace(" ", ""))
    assert torch.equal(laid(layout, canvas, hits).mask()[0], lines)


def test_groups_written_out() -> None:
    """Groups of 3 at the columns 1 and 3 of four tokens; clean columns come first."""
    canvas = make((1,), (3,))
    layout = Groups(3)
    z = noised(canvas, [[1] * 4])
    view = layout.at(canvas, z, z.hit, torch.tensor([[0, 2]]))
    wanted = """
    1000 000000
    1100 000000
    1110 000000
    1111 000000
    0000 111000
    0000 111000
    0000 111000
    1100 000111
    1100 000111
    1100 000111
    """
    assert torch.equal(view.mask()[0], written(wanted.replace(" ", "")))
    a, b, c, d = canvas.tokens[0].tolist()
    assert view.tokens[0].tolist() == [a, b, c, d, a, MASK, MASK, c, MASK, MASK]
    assert view.pos[0].tolist() == [0, 1, 2, 3, 0, 1, 2, 2, 3, 4]
    learned = view.learn[0].nonzero()[:, 0]
    assert learned.tolist() == [4, 5, 6, 7] and view.source[0, learned].tolist() == [1, 2, 3, 3]


def test_groups_end_with_the_answer() -> None:
    """Two turns: what of a group lies in the second prompt is masks, and nothing behind it is learned."""
    tokens = torch.tensor([[3, 4, 5, 6, 7, 8, 9]])
    there = torch.ones_like(tokens, dtype=torch.bool)
    answer = torch.tensor([[0, 1, 1, 0, 0, 1, 1]]).bool()
    canvas = Canvas(tokens, there, answer, ~there, torch.zeros(1, dtype=torch.int64))
    z = noised(canvas, answer.int().tolist())
    view = Groups(5).at(canvas, z, z.hit, torch.tensor([[0, 1, 4]]))
    M = MASK
    assert view.tokens[0, 7:].tolist() == [3, M, M, M, M, 4, M, M, M, M, 7, M, M, M, M]
    assert view.learn[0, 7:].int().tolist() == [1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0]
    assert view.source[0, 7:][view.learn[0, 7:]].tolist() == [1, 2, 2, 5, 6]
    assert not bool(view.learn[0, :7].any())


def test_rows_before() -> None:
    """Which output predicts a column of a shifted model: in the stream, or the clean one at a block's start."""
    canvas = make((0,), (6,))
    inside = [-1, 0, 1, 2, 3, 4]
    clean = [-1, 6, 7, 8, 9, 10]
    assert laid(TwoStream(2), canvas, NONE).before[0].tolist() == inside + clean
    assert laid(Ordered(2), canvas, NONE).before[0].tolist() == inside + clean
    bridged = laid(TwoStream(2, bridge=True), canvas, NONE).before[0].tolist()
    assert bridged == [-1, 0, 7, 2, 9, 4, *clean]
    assert laid(TwoStream(1, bridge=True), canvas, NONE).before[0].tolist() == clean + clean
    packed = laid(TwoStream(2, bridge=True), PACKED, NONE).before[0].tolist()
    assert packed[:5] == [-1, 0, 7, -1, 3]


def test_in_front_of_a_suffix_a_causal_context_is_seen_whole() -> None:
    """Prompt of 5, gap of 2, suffix of 2, blocks of 4: the gap sees the prompt in its own block too."""
    canvas = make((5,), (2,), (2,))
    for layout in (TwoStream(4, causal=True), Ordered(4)):
        seen = laid(layout, canvas, [[0, 0, 0, 0, 0, 1, 1, 0, 0]]).mask()[0]
        for gap in (5, 6):
            assert seen[gap, 9:].tolist() == [True] * 4 + [False] * 5  # clean places before the block
            assert bool(seen[gap, 4]) and bool(seen[gap, gap]) and not bool(seen[gap, 8])


CANVASES = [make((3, 6, 1), (9, 5, 2)), PACKED]


@pytest.mark.parametrize("canvas", CANVASES, ids=["prompts", "packed"])
def test_at_block_one_the_model_is_the_autoregressive_one(canvas: Canvas) -> None:
    model = wide()
    diffusion = Objective(
        times=LowDiscrepancy(1),
        masking=AtLeastOne(block=1),
        layout=TwoStream(1, causal=True, bridge=True),
        target=Shifted(),
        normaliser=PerWeight(),
    )
    plain = Objective(noise=Clean(), layout=Causal(), target=Shifted(), normaliser=PerWeight())
    losses, logits = [], []
    for objective in (diffusion, plain):
        job = objective.prepare(canvas, Keyed(5), TRAITS)
        hidden = objective.hidden({"main": model}, job)
        reading = job.readings[0]
        order = (reading.row * 100 + reading.column).argsort()
        logits.append(model.head(hidden[reading.row, reading.at])[order])
        losses.append(objective.losses({"main": model}, job, job.counts, hidden))
        if objective is diffusion:
            assert torch.equal(job.noised.hit, canvas.answer)
    torch.testing.assert_close(logits[0], logits[1], **TIGHT)
    torch.testing.assert_close(losses[0].value, losses[1].value, **TIGHT)
    torch.testing.assert_close(losses[0].each, losses[1].each, equal_nan=True, **TIGHT)
    # and with a plain forward of every document and transformers' shift: logits[:-1] against labels[1:]
    values = []
    for row in range(len(canvas.tokens)):
        for number in canvas.sample[row].unique():
            mine = (canvas.sample[row] == number) & canvas.valid[row]
            ids, labels = canvas.tokens[row, mine], canvas.answer[row, mine]
            mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()[None]
            out = model.head(model(model.embed(ids), torch.arange(len(ids)), dense(mask, 1)))
            out[:, MASK] = -float("inf")
            values.append(F.cross_entropy(out[:-1], ids[1:], reduction="none")[labels[1:]])
    torch.testing.assert_close(losses[0].value, torch.cat(values).mean(), **TIGHT)


def alone(model: Backbone, prefix: Tensor, tail: Tensor, inside: Tensor, causal: int) -> Tensor:
    """Logits (n, V) of `tail` behind the clean `prefix`: the prefix in blocks of `causal` places, each seeing itself and
    the ones before; the tail sees the whole prefix and, of itself, `inside` (n, n)."""
    p, n = len(prefix), len(tail)
    mask = torch.zeros(p + n, p + n, dtype=torch.bool)
    for i in range(p):
        for j in range(p):
            mask[i, j] = j // causal <= i // causal
    mask[p:, :p] = True
    mask[p:, p:] = inside
    ids = torch.cat((prefix, tail))
    out: Tensor = model.head(model(model.embed(ids), torch.arange(p + n), dense(mask[None], 1)))
    return out[p:]


def sequential(model: Backbone, canvas: Canvas, z: Noised, layout: Any) -> Tensor:
    """(B, T) the cross entropies of aligned predictions of the hit columns: each block by itself behind clean tokens."""
    found = torch.full(canvas.tokens.shape, float("nan"))
    causal = 1 if isinstance(layout, Ordered) or layout.causal else layout.block
    for row in range(len(canvas.tokens)):
        for number in canvas.sample[row].unique():
            mine = ((canvas.sample[row] == number) & canvas.valid[row]).nonzero()[:, 0]
            for start in range(0, len(mine), layout.block):
                here = mine[start : start + layout.block]
                n = len(here)
                inside = torch.ones(n, n, dtype=torch.bool)
                if isinstance(layout, Ordered):
                    late = z.hit[row, here].tolist() if layout.order == "observed" else [False] * n
                    place = sorted(range(n), key=lambda i: (late[i], i))
                    inside = torch.tensor([[place.index(j) <= place.index(i) for j in range(n)] for i in range(n)])
                out = alone(model, canvas.tokens[row, mine[:start]], z.tokens[row, here], inside, causal)
                out[:, MASK] = -float("inf")
                losses = F.cross_entropy(out, canvas.tokens[row, here], reduction="none")
                found[row, here] = torch.where(z.hit[row, here], losses, float("nan"))
    return found


@pytest.mark.parametrize("canvas", CANVASES, ids=["prompts", "packed"])
@pytest.mark.parametrize(
    "layout",
    [
        TwoStream(BLOCK),
        TwoStream(BLOCK, causal=True),
        TwoStream(2),
        Ordered(BLOCK, "observed"),
        Ordered(BLOCK, "place"),
    ],
    ids=repr,
)
def test_two_streams_equal_each_block_alone(layout: Any, canvas: Canvas) -> None:
    model = wide()
    for seed in range(4):
        objective = Objective(times=LowDiscrepancy(BLOCK), masking=AtLeastOne(), layout=layout)
        job = objective.prepare(canvas, Keyed(seed), TRAITS)
        each = objective.run({"main": model}, job, job.counts).each
        torch.testing.assert_close(
            each, sequential(model, canvas, job.noised, layout).detach(), equal_nan=True, **TIGHT
        )


@pytest.mark.parametrize("canvas", CANVASES, ids=["prompts", "packed"])
@pytest.mark.parametrize("causal", [False, True])
def test_groups_equal_each_group_alone(causal: bool, canvas: Canvas) -> None:
    """A group alone: the clean tokens before its first one, causal; then the token and masks."""
    model, size = wide(), 3
    layout = Groups(size, causal=causal)
    objective = Objective(times=Constant(1.0), layout=layout, normaliser=PerWeight())
    for seed in range(4):
        job = objective.prepare(canvas, Keyed(seed), TRAITS)
        found = objective.run({"main": model}, job, job.counts).value
        losses = []
        for row, starts in enumerate(layout.starts(canvas, Keyed(seed)).tolist()):
            for start in (s for s in starts if s >= 0):
                mine = ((canvas.sample[row] == canvas.sample[row, start]) & canvas.valid[row]).nonzero()[:, 0]
                at = mine.tolist().index(start)
                tail = torch.tensor([int(canvas.tokens[row, start])] + [MASK] * (size - 1))
                inside = torch.ones(size, size, dtype=torch.bool)
                out = alone(model, canvas.tokens[row, mine[:at]], tail, inside.tril() if causal else inside, 1)
                out[:, MASK] = -float("inf")
                for k in range(min(size, len(mine) - at - 1)):
                    target = mine[at + 1 + k]
                    if canvas.answer[row, target]:
                        losses.append(F.cross_entropy(out[k], canvas.tokens[row, target]))
        torch.testing.assert_close(found, torch.stack(losses).mean(), **TIGHT)


@pytest.mark.parametrize("canvas", CANVASES, ids=["prompts", "packed"])
@pytest.mark.parametrize(
    "objective",
    [
        Objective(layout=TwoStream(BLOCK), target=Shifted(), replicas=Complementary()),
        Objective(layout=TwoStream(BLOCK, causal=True, bridge=True), target=Shifted(), auxiliary=(NextToken(),)),
        Objective(
            masking=ExactCount(BLOCK), times=LowDiscrepancy(BLOCK), layout=Ordered(BLOCK), auxiliary=(Certainty(),)
        ),
        Objective(layout=Ordered(BLOCK, "place"), target=Shifted()),
        Objective(times=Constant(), layout=Groups(3)),
        Objective(layout=Causal(), target=Shifted(), supervise="answer"),
    ],
    ids=["complementary", "nbdiff", "wedlm", "idlm", "sdlm", "card"],
)
def test_trimming_changes_no_loss(objective: Objective, canvas: Canvas) -> None:
    model, smaller = wide(), 0
    for seed in range(3):
        job = objective.prepare(canvas, Keyed(seed), TRAITS)
        rows, z = objective.replicas.noise(objective, canvas, Keyed(seed), TRAITS)
        learn = objective.learned(rows, z)
        view = objective.layout.lay(rows, z, learn, Keyed(seed))
        readings = objective._readings(rows, z, view, learn, TRAITS)
        whole = Job(rows, z, view, readings, TRAITS, Keyed(seed))
        smaller += view.tokens.shape[1] - job.view.tokens.shape[1]
        found, wanted = (objective.run({"main": model}, j, j.counts) for j in (job, whole))
        torch.testing.assert_close(found.value, wanted.value, **TIGHT)
        torch.testing.assert_close(found.each, wanted.each, equal_nan=True, **TIGHT)
    assert smaller > 0 or not isinstance(objective.layout, TwoStream)


def test_a_weighted_mean_does_not_depend_on_micro_batches() -> None:
    model, canvas = backbone(), make((3, 6, 1, 2), (9, 5, 2, 7))
    objective = Objective(
        times=LowDiscrepancy(BLOCK),
        masking=ExactCount(BLOCK),
        layout=Ordered(BLOCK),
        weight=InverseRate(),
        normaliser=PerWeight(),
        auxiliary=(NextToken(0.5),),
        share=0.5,
    )
    whole = once(objective, {"main": model}, canvas, Keyed(2), TRAITS).value
    jobs = []
    for part in ([0, 1], [2, 3]):
        some = Canvas(*(x[part] for x in (canvas.tokens, canvas.valid, canvas.answer, canvas.suffix, canvas.sample)))
        jobs.append(objective.prepare(some, Keyed(2), TRAITS))
    counts = {name: jobs[0].counts[name] + jobs[1].counts[name] for name in jobs[0].counts}
    parts = [objective.run({"main": model}, job, counts).value for job in jobs]
    torch.testing.assert_close(parts[0] + parts[1], whole, **TIGHT)


def test_resembling_is_the_mean_cosine_distance_to_the_teacher() -> None:
    student, teacher, canvas = wide(), backbone_like(), CANVASES[0]
    inner = Objective(noise=Clean(), layout=Causal(), target=Shifted(), normaliser=PerWeight())
    program = Resembling(inner, share=10.0)
    found = once(program, {"main": student, "teacher": teacher}, canvas, Keyed(1), TRAITS)
    distances = []
    for row in range(len(canvas.tokens)):
        ids = canvas.tokens[row, canvas.valid[row]]
        mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()[None]
        own, other = (m(m.embed(ids), torch.arange(len(ids)), dense(mask, 1)) for m in (student, teacher))
        # the causal view drops a row's last token: no target is read behind it
        distances.append(1 - F.cosine_similarity(own, other, -1)[: len(ids) - 1])
    plain = once(inner, {"main": student}, canvas, Keyed(1), TRAITS).value
    torch.testing.assert_close(found.parts["resembling"], 10 * torch.cat(distances).mean().detach(), **TIGHT)
    torch.testing.assert_close(found.value, plain + found.parts["resembling"], **TIGHT)
    found.value.backward()  # type: ignore[no-untyped-call]
    assert student.embedding.weight.grad is not None and teacher.embedding.weight.grad is None
    same = once(program, {"main": student, "teacher": student}, canvas, Keyed(1), TRAITS)
    assert float(same.parts["resembling"]) == pytest.approx(0.0, abs=1e-5)


def backbone_like() -> Backbone:
    torch.manual_seed(8)
    return Backbone(BackboneConfig(20, 24, 48, 2, 2, 2, 12, qk_norm=False, tie_embeddings=False))


def test_certainty_reads_the_masked_tokens_predicted_right() -> None:
    """By hand on the logits, temperature 0.5; an auxiliary loss of the noised stream alone."""
    model, canvas = wide(), make((2, 1), (9, 7))
    objective = Objective(layout=TwoStream(BLOCK), auxiliary=(Certainty(2.0, temperature=0.5, subs=False),))
    # a head that copies what it sees would never be right at a mask, so the targets are what the model says
    job = objective.prepare(canvas, Keyed(3), TRAITS)
    hidden = objective.hidden({"main": model}, job)
    main = job.readings[0]
    logits = model.head(hidden[main.row, main.at])
    said = logits.argmax(-1)
    some = torch.arange(len(said)) % 2 == 0
    truth = torch.where(some, said, (said + 1) % 20)
    assert main.targets is not None
    readings = tuple(replace(r, targets=replace(r.targets, clean=truth)) for r in job.readings if r.targets is not None)
    found = objective.losses({"main": model}, replace(job, readings=readings), job.counts, hidden)
    p = (logits / 0.5).softmax(-1)
    wanted = -(p * p.log()).sum(-1)[some].mean()
    torch.testing.assert_close(found.parts["certainty"], 2.0 * wanted.detach(), rtol=1e-5, atol=1e-6)
    streams = job.view.stream[readings[1].row, readings[1].at]
    assert set(streams.tolist()) == {NOISED} and CLEAN not in streams
