"""Rows: ends, cuts, packing and padding, written out by hand; packed documents neither see nor change one another."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redraft.core.draws import Keyed
from redraft.core.errors import BadInput
from redraft.core.traits import Traits
from redraft.noise.absorbing import Absorbing
from redraft.objectives import (
    AtLeastOne,
    Causal,
    Full,
    InverseRate,
    Layout,
    LowDiscrepancy,
    Objective,
    PerDocument,
    Shifted,
    TwoStream,
    Uniform,
)
from redraft.recipes.recipe import Rows
from redraft.train.data import PIECE, Document, Few, Special, canvas, micro_batches, rows
from tests.train.small import BLOCK, MASK, backbone

EOS, PAD = 1, 0
SPECIAL = Special(EOS, PAD, MASK, (17, 18, 19))
TRAITS = Traits(mask=MASK, eos=(EOS,), vocab=20)


def document(number: int, prompt: int, answer: int, suffix: int = 0, **more: object) -> Document:
    """Ids that no other document has at the same place."""
    ids = [3 + (7 * number + i) % 13 for i in range(prompt + answer + suffix)]
    kinds = [1] * prompt + [2] * answer + [3] * suffix
    found = Document(number, ids, [k == 2 for k in kinds], [k == 3 for k in kinds] if suffix else None)
    return replace(found, **more)  # type: ignore[arg-type]


def ids(batch: list[list[Document]]) -> list[list[list[int]]]:
    return [[d.tokens for d in row] for row in batch]


@pytest.mark.parametrize(
    ("tokens", "wanted", "given"),
    [
        ([5, 6, 7], [5, 6, 7, EOS], Rows(8)),
        ([5, 6, 7], [5, 6, 7, EOS], Rows(8, align=4)),
        ([5, 6, 7, 8], [5, 6, 7, 8, EOS, -MASK, -MASK, -MASK], Rows(8, align=4)),
        ([5, 6, 7, 8], [5, 6, 7, 8, EOS, -MASK], Rows(6, align=4)),  # not beyond the context
        ([5, 6, 7, 8], [5, 6, 7, 8, EOS, EOS, EOS, EOS], Rows(8, end="all", align=4)),
        ([5, 6, 7, EOS], [5, 6, 7, EOS, -MASK, -MASK], Rows(8, align=6)),  # an end of its own
        ([5, 6, 7], [5, 6, 7], Rows(8, end="none")),
        ([5, 6, 7], [5, 6, 7, EOS], Rows(8, end="all")),  # the widest row
        ([5, 6, 7], [5, 6, 7, EOS, 17, 18, 19, 17], Rows(8, end="rainbow", align=8)),
    ],
)
def test_ends_by_hand(tokens: list[int], wanted: list[int], given: Rows) -> None:
    """Below zero: there and not learned."""
    one = Document(3, tokens, [False] + [True] * (len(tokens) - 1))
    ((made,),) = rows([one], given, SPECIAL)
    assert made.tokens == [abs(token) for token in wanted]
    assert made.answer == [False] + [token > 0 for token in wanted[1:]]


@pytest.mark.parametrize(
    ("end", "tokens", "answer", "valid"),
    [
        ("first", [3, 4, EOS, PAD, PAD, PAD, PAD], "0110000", "1110000"),
        ("none", [3, 4, PAD, PAD, PAD, PAD], "010000", "110000"),
        ("all", [3, 4, EOS, EOS, EOS, EOS, EOS], "0111111", "1111111"),
        ("rainbow", [3, 4, EOS, 17, 18, 19, 17], "0111111", "1111111"),
    ],
)
def test_what_is_left_of_a_row_by_hand(end: str, tokens: list[int], answer: str, valid: str) -> None:
    given = Rows(16, end=end)  # type: ignore[arg-type]
    short, long = Document(0, [3, 4], [False, True]), Document(1, [5] * 6, [False] + [True] * 5)
    made = canvas(rows([short, long], given, SPECIAL), SPECIAL)
    assert made.tokens[0].tolist() == tokens
    assert made.answer[0].int().tolist() == [int(c) for c in answer]
    assert made.valid[0].int().tolist() == [int(c) for c in valid]
    real = made.valid[0]
    assert made.sample[0][real].tolist() == [0] * int(real.sum())
    assert made.place[0][real].tolist() == list(range(int(real.sum())))
    assert made.sample[0][~real].tolist() == [-1] * int((~real).sum())


def test_the_rainbow_goes_on_where_the_filling_stopped() -> None:
    given = Rows(16, end="rainbow", align=4)
    docs = [Document(0, [3, 4], [False, True]), Document(1, [5] * 9, [True] * 9)]
    made = canvas(rows(docs, given, SPECIAL), SPECIAL)
    assert made.tokens[0].tolist() == [3, 4, EOS, 17, 18, 19, 17, 18, 19, 17, 18, 19]
    assert made.tokens[1].tolist() == [5] * 9 + [EOS, 17, 18]


def test_an_end_of_its_own_is_not_doubled_and_none_follows_what_is_no_answer() -> None:
    given = Rows(8)
    own = Document(0, [3, 4, EOS], [False, True, True])
    turn = Document(0, [3, 4, 9], [False, True, True])
    assert ids(rows([turn], given, replace(SPECIAL, ends=(EOS, 9)))) == [[turn.tokens]]  # an end-of-turn token
    infill = document(1, 1, 2, 1)
    open_ = document(2, 1, 2, ended=False)
    assert ids(rows([own, infill, open_], given, SPECIAL)) == [[own.tokens], [infill.tokens], [open_.tokens]]
    made = canvas(rows([open_, document(3, 1, 3)], Rows(8, end="all"), SPECIAL), SPECIAL)
    assert made.valid[0].tolist() == [True, True, True, False, False]  # a text that goes on is followed by nothing


def test_long_documents_are_split_truncated_or_refused() -> None:
    text = Document(5, list(range(3, 13)), [True] * 10, origin="a.txt, line 7")
    split = rows([text], Rows(4), SPECIAL)
    assert ids(split) == [[[3, 4, 5, 6]], [[7, 8, 9, 10]], [[11, 12, EOS]]]
    assert [row[0].number for row in split] == [5, 5 + PIECE, 5 + 2 * PIECE]
    assert [t for row in split for t in row[0].tokens if t != EOS] == text.tokens  # nothing lost
    heard: list[str] = []
    assert ids(rows([text], Rows(4, long="truncate"), SPECIAL, heard.append)) == [[[3, 4, 5, 6]]]
    assert heard == ["a.txt, line 7 was cut from 10 to 4 tokens at most"]
    with pytest.raises(BadInput, match=r"a\.txt, line 7 has 11 tokens with its end and a row holds 4"):
        rows([text], Rows(4, long="error"), SPECIAL)
    assert len(rows([text], Rows(11, long="error"), SPECIAL)) == 1
    full = Document(5, [3, 4, 5, 6], [True] * 4)
    assert ids(rows([full], Rows(4), SPECIAL)) == [[[3, 4, 5, 6]]]  # no document of a bare end


def test_dialogues_are_cut_between_turns() -> None:
    answer = [False, False, True, True, False, False, True, True, False, True]
    chat = Document(1, list(range(3, 13)), answer, cuts=(4, 8, 10))
    assert ids(rows([chat], Rows(9), SPECIAL)) == [[[3, 4, 5, 6, 7, 8, 9, 10]], [[11, 12, EOS]]]
    assert ids(rows([chat], Rows(7, long="truncate"), SPECIAL)) == [[[3, 4, 5, 6]]]
    heard: list[str] = []
    prompt = Document(2, list(range(3, 13)), [False] * 8 + [True] * 2, origin="b.jsonl, line 2")
    assert ids(rows([prompt], Rows(4), SPECIAL, heard.append)) == [[[11, 12, EOS]]]
    assert heard == ["b.jsonl, line 2: 2 of 3 pieces held nothing to learn and were left out"]


def test_remarks_are_few() -> None:
    heard: list[str] = []
    few = Few(heard.append, 2)
    for word in "abc":
        few(word)
    assert heard == ["a", "b; further ones like this are not listed"]


def test_first_fit_in_order() -> None:
    docs = [document(n, 1, size - 2) for n, size in enumerate((6, 5, 4, 3, 6))]  # sizes with their ends
    made = rows(docs, Rows(10, pack=True), SPECIAL)
    assert [[d.number for d in row] for row in made] == [[0, 2], [1, 3], [4]]
    c = canvas(made, SPECIAL)
    assert c.sample[0].tolist() == [0] * 6 + [2] * 4
    assert c.place[1].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0, 0]
    assert c.sample[1].tolist() == [1] * 5 + [3] * 3 + [-1, -1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(2, 12), min_size=1, max_size=30), st.integers(4, 12), st.booleans(), st.integers(1, 5))
def test_nothing_is_lost_and_no_row_is_too_long(sizes: list[int], context: int, pack: bool, micro: int) -> None:
    given = Rows(context, pack=pack)
    docs = [Document(n, [3 + (n + i) % 13 for i in range(size)], [True] * size) for n, size in enumerate(sizes)]
    made = rows(docs, given, SPECIAL)
    assert all(sum(map(len, row)) <= context for row in made)
    found = sorted((d.number % PIECE, d.number // PIECE, d.tokens) for row in made for d in row)
    for n, d in enumerate(docs):
        assert [t for number, _, tokens in found if number == n for t in tokens if t != EOS] == d.tokens
    groups = micro_batches(made, micro)
    assert sorted(id(r) for g in groups for r in g) == sorted(map(id, made))
    assert all(len(g) <= micro for g in groups) and len(groups) == -(-len(made) // micro)
    widths = [[sum(map(len, r)) for r in g] for g in groups]
    assert all(max(a) <= min(b) for a, b in pairwise(widths))


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("end", ["all", "rainbow"])
def test_padding_goes_to_the_widest_row_of_the_step(end: str, pack: bool) -> None:
    """However the rows are split into micro-batches: what a document learns is a function of the step alone."""
    given = Rows(450, end=end, align=16, num_pads=3, pack=pack)  # type: ignore[arg-type]
    docs = [Document(n, [3 + n] * size, [False] + [True] * (size - 1)) for n, size in enumerate([10, 400] * 8)]
    batch = rows(docs, given, SPECIAL)
    assert {sum(map(len, row)) for row in batch} == ({448} if pack else {416})  # 401 and 11 with their ends
    found = []
    for micro in (4, 16):
        made = [canvas(m, SPECIAL) for m in micro_batches(batch, micro)]
        learned = {int(n): int((c.answer & (c.sample == n)).sum()) for c in made for n in c.sample.unique()}
        assert all(bool((c.valid.sum(1) == c.tokens.shape[1]).all()) for c in made)
        found.append(dict(sorted(learned.items())))
    assert found[0] == found[1] and len(found[0]) == 16
    if not pack:
        assert set(found[0].values()) == {415}


@pytest.mark.parametrize("layout", [Full(), TwoStream(BLOCK)], ids=repr)
def test_the_filling_of_a_block_is_seen_and_not_learned(layout: Layout) -> None:
    model, docs = backbone(), [document(0, 2, 3), document(1, 1, 4)]
    found = {}
    for align in (0, BLOCK):
        made = canvas(rows(docs, Rows(24, align=align), SPECIAL), SPECIAL)
        assert int(made.answer.sum()) == 9  # one end each
        found[align] = (made, objective(layout).loss(model, made, 3, TRAITS).each)
    (bare, plain), (filled, seen) = found[0], found[BLOCK]
    assert plain is not None and seen is not None
    assert filled.valid.sum(1).tolist() == [8, 8] and bare.valid.sum(1).tolist() == [6, 6]
    assert bool((filled.tokens[:, 6:] == MASK).all()) and bool(seen[:, 6:].isnan().all())
    assert torch.equal(plain.isnan(), seen[:, :6].isnan())
    assert not torch.allclose(plain, seen[:, :6], equal_nan=True)  # its attention includes the masks


def test_a_document_with_the_mask_token_is_named() -> None:
    docs = [document(6, 1, 2), Document(7, [3, MASK, 4], [True] * 3, origin="a.jsonl, line 8")]
    with pytest.raises(BadInput, match=r"document 7 \(a\.jsonl, line 8\) holds the mask token \(id 2\) at place 1"):
        rows(docs, Rows(8), SPECIAL)
    assert len(rows(docs, Rows(8), replace(SPECIAL, mask=None))) == 2


def test_settings_that_contradict_each_other() -> None:
    docs = [document(0, 1, 2)]
    with pytest.raises(BadInput, match=r"rainbow.*num_pads"):
        rows(docs, Rows(8, end="rainbow"), replace(SPECIAL, pads=()))
    with pytest.raises(BadInput, match="align"):
        rows(docs, Rows(8, end="none", align=4), SPECIAL)
    with pytest.raises(BadInput, match="context"):
        rows(docs, Rows(1), SPECIAL)
    with pytest.raises(BadInput, match="micro"):
        micro_batches([docs], 0)
    with pytest.raises(BadInput, match=r"equally long.*document 4"):
        Document(4, [1, 2], [True])


LAYOUTS: list[Layout] = [Full(), Full(BLOCK), TwoStream(BLOCK), TwoStream(BLOCK, causal=True), Causal()]


def objective(layout: Layout) -> Objective:
    """Times by block, at least one hit a document, weights by rate: whatever could leak from one document to another."""
    causal = isinstance(layout, Causal)
    return Objective(
        Absorbing(),
        Uniform(BLOCK) if not causal else LowDiscrepancy(),
        AtLeastOne(),
        layout,
        target=Shifted() if causal else Objective().target,
        weight=InverseRate(),
        normaliser=PerDocument(),
    )


MIXED = [document(n, p, a, s) for n, (p, a, s) in enumerate([(3, 5, 0), (1, 9, 0), (2, 4, 3), (0, 6, 0), (5, 2, 0)])]


@pytest.mark.parametrize("layout", LAYOUTS, ids=repr)
def test_documents_never_see_each_other(layout: Layout) -> None:
    given = Rows(24, pack=True)
    packed = canvas(rows(MIXED, given, SPECIAL), SPECIAL)
    assert packed.tokens.shape[0] == 2 and int(packed.num_documents) == 5
    job = objective(layout).prepare(packed, Keyed(3), TRAITS)
    mask, view = job.view.mask(), job.view
    owner = packed.sample.gather(1, view.source)
    apart = owner[:, :, None] != owner[:, None, :]
    assert bool(apart.any()) and not bool((mask & apart).any())
    ghost = ~packed.valid.gather(1, view.source)
    own = torch.eye(mask.shape[1], dtype=torch.bool)
    assert not bool((mask & ghost[:, None, :] & ~own).any())  # nobody sees padding


@pytest.mark.parametrize("layout", LAYOUTS, ids=repr)
def test_packing_padding_and_batches_do_not_change_a_loss(layout: Layout) -> None:
    model, program = backbone(), objective(layout)
    given = Rows(24, pack=True)
    packed = canvas(rows(MIXED, given, SPECIAL), SPECIAL)
    with torch.no_grad():
        whole = program.loss(model, packed, 3, TRAITS)
        together = canvas(rows(MIXED, Rows(24), SPECIAL), SPECIAL)
        batch = program.loss(model, together, 3, TRAITS)
        assert whole.each is not None and batch.each is not None
        count = 0
        for n, row in enumerate(rows(MIXED, Rows(24), SPECIAL)):
            alone = program.loss(model, canvas([row], SPECIAL), 3, TRAITS)
            assert alone.each is not None
            wanted = alone.each[0]
            at = packed.sample == n
            torch.testing.assert_close(whole.each[at], wanted, rtol=1e-6, atol=1e-6, equal_nan=True)
            torch.testing.assert_close(batch.each[n, : len(wanted)], wanted, rtol=1e-6, atol=1e-6, equal_nan=True)
            count += int((~wanted.isnan()).sum())
        assert count >= 5
    torch.testing.assert_close(whole.value, batch.value, rtol=1e-5, atol=1e-6)


def test_rows_are_the_same_whoever_runs_them() -> None:
    given = Rows(24, pack=True)
    first = rows(MIXED, given, SPECIAL)
    assert first == rows(list(MIXED), given, SPECIAL)
    micros = micro_batches(rows(MIXED, Rows(24), SPECIAL), 2)
    assert [[row[0].number for row in m] for m in micros] == [[3, 4], [0, 2], [1]]
    shared = [m for process in range(2) for m in micros[process::2]]
    assert sorted(row[0].number for m in shared for row in m) == [0, 1, 2, 3, 4]
