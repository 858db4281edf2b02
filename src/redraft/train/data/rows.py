"""Documents to rows (ends, cuts, packing), rows to canvases, rows to micro-batches: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from ...core.errors import BadInput
from ...objectives import Canvas
from ...recipes.recipe import Rows
from .documents import PIECE, Document, Special

Row = list[Document]


def rows(
    documents: Sequence[Document], settings: Rows, special: Special, say: Callable[[str], None] | None = None
) -> list[Row]:
    """A step's rows in order: ends are added, long documents cut, and with settings.pack each is put into the first row
    with room for it. With settings.end "all" or "rainbow" every row is filled up to the widest one: the documents are
    those of the whole step, so that what is learned does not depend on how the rows are split afterwards.

    `say` hears of every document that was truncated and of pieces with nothing to learn. BadInput where a document
    holds the mask token.
    """
    check(settings, special)
    for d in documents:
        if special.mask is not None and special.mask in d.tokens:
            raise BadInput(
                f"document {d.number}{f' ({d.origin})' if d.origin else ''} holds the mask token (id {special.mask}) at place "
                f"{d.tokens.index(special.mask)}, where text was expected; take it out of the data."
            )
    pieces = [p for d in documents for p in fitted(d, settings, special, say or _quiet)]
    out = packed(pieces, settings.context) if settings.pack else [[p] for p in pieces]
    if settings.end not in ("all", "rainbow"):
        return out
    width = max((sum(map(len, row)) for row in out), default=0)
    return [[*row[:-1], widened(row[-1], width - sum(map(len, row)), settings, special)] for row in out]


def packed(pieces: Sequence[Document], context: int) -> list[Row]:
    """First fit, in order."""
    out: list[Row] = []
    room: list[int] = []
    for p in pieces:
        at = next((i for i, left in enumerate(room) if left >= len(p)), len(out))
        if at == len(out):
            out.append([])
            room.append(context)
        out[at].append(p)
        room[at] -= len(p)
    return out


def check(settings: Rows, special: Special) -> None:
    """BadInput where the settings contradict each other or the tokens at hand."""
    if settings.context < 2:
        raise BadInput(f"rows.context should be at least 2 tokens, found {settings.context}.")
    if settings.end == "rainbow" and not special.pads:
        raise BadInput(
            "rows.end 'rainbow' needs pad tokens of its own, found none; set rows.num_pads (the paper takes 7)."
        )
    if settings.end == "none" and settings.align:
        raise BadInput(
            "rows.align fills answers up with end tokens, which rows.end 'none' rules out; set one of the two."
        )


def fitted(document: Document, settings: Rows, special: Special, say: Callable[[str], None]) -> list[Document]:
    """The document with its end, in pieces of at most settings.context tokens."""
    whole = ended(document, settings, special)
    if len(whole) <= settings.context:
        return [whole]
    if settings.long == "error":
        raise BadInput(
            f"{document.name} has {len(whole)} tokens with its end and a row holds {settings.context}; shorten it, raise "
            "rows.context, or set rows.long to 'split' or 'truncate'."
        )
    if settings.long == "truncate":
        say(f"{document.name} was cut from {len(document)} to {settings.context} tokens at most")
        return _learnable([piece(document, 0, _cut(document, 0, settings.context))], say)
    return _learnable(split(document, settings, special), say)


def split(document: Document, settings: Rows, special: Special) -> list[Document]:
    """Pieces of at most settings.context tokens, cut where the document allows; the last one has the end."""
    out: list[Document] = []
    start = 0
    while start < len(document):
        stop = _cut(document, start, settings.context)
        last = stop == len(document)
        one = piece(document, start, stop, len(out), document.ended and last)
        if last:
            closed = ended(one, settings, special)
            # an end that found no room is left out: it would be a document of nothing but ends
            one = closed if len(closed) <= settings.context else replace(one, ended=False)
        out.append(one)
        start = stop
    return out


def piece(document: Document, start: int, stop: int, index: int = 0, end: bool = False) -> Document:
    """Places start to stop as a document of its own."""
    suffix = None if document.suffix is None else document.suffix[start:stop]
    return replace(
        document,
        number=document.number + index * PIECE,
        tokens=document.tokens[start:stop],
        answer=document.answer[start:stop],
        suffix=suffix,
        ended=end,
        cuts=tuple(c - start for c in document.cuts if start < c <= stop),
    )


def ended(document: Document, settings: Rows, special: Special) -> Document:
    """The document with its end token and filled up to a multiple of settings.align; itself where neither applies.

    No end follows a document that does not end with an answer, nor one whose last token is an end already. With
    settings.end "first" the filling is masks that are seen and not learned: what decoding has behind an end. (Fast-dLLM
    v2, arXiv:2509.26328; end tokens there would tell where the answer ends.) With "all" and "rainbow" it is learned.
    """
    if not document.tokens or not document.answer[-1]:
        return document
    if document.ended and settings.end != "none" and document.tokens[-1] not in (special.eos, *special.ends):
        document = longer(document, [special.eos])
    if not settings.align or not document.ended:
        return document
    fill = min(-(-len(document) // settings.align) * settings.align, max(settings.context, len(document)))
    count = fill - len(document)
    if settings.end == "first":
        return longer(document, [special.pad if special.mask is None else special.mask] * count, learned=False)
    return longer(document, filling(document.tokens, count, settings, special))


def widened(document: Document, count: int, settings: Rows, special: Special) -> Document:
    """The last document of a row with `count` learned tokens behind it, where its answer ended."""
    if not document.ended or not document.answer or not document.answer[-1]:
        return document
    return longer(document, filling(document.tokens, count, settings, special))


def longer(document: Document, tokens: list[int], learned: bool = True) -> Document:
    """The document with tokens behind it; itself where there are none."""
    if not tokens:
        return document
    return replace(
        document,
        tokens=document.tokens + tokens,
        answer=document.answer + [learned] * len(tokens),
        suffix=None if document.suffix is None else document.suffix + [False] * len(tokens),
    )


def filling(tokens: Sequence[int], count: int, settings: Rows, special: Special) -> list[int]:
    """`count` learned tokens to put behind `tokens`: ends, or Rainbow Padding's cycle, which begins behind the end."""
    if settings.end != "rainbow":
        return [special.eos] * count
    done = next((i for i, token in enumerate(reversed(tokens)) if token not in special.pads), len(tokens))
    return [special.pads[(done + i) % len(special.pads)] for i in range(count)]


def canvas(batch: Sequence[Row], special: Special) -> Canvas:
    """A rectangular batch as wide as its widest row; what is left of a row is columns that do not exist."""
    width = max((sum(map(len, row)) for row in batch), default=0)
    shape = (len(batch), width)
    tokens = torch.full(shape, special.pad)
    kind = torch.zeros(shape, dtype=torch.int8)
    sample, pos = torch.full(shape, -1), torch.zeros(shape, dtype=torch.int64)
    for i, row in enumerate(batch):
        at = 0
        for d in row:
            here = slice(at, at + len(d))
            tokens[i, here] = torch.tensor(d.tokens)
            kind[i, here] = torch.tensor(_kinds(d), dtype=torch.int8)
            sample[i, here], pos[i, here] = d.number, torch.arange(len(d))
            at += len(d)
    return Canvas(tokens, kind > 0, kind == 2, kind == 3, sample, pos)


def _kinds(document: Document) -> list[int]:
    """1 known, 2 answer, 3 suffix."""
    suffix = document.suffix or [False] * len(document)
    return [2 if a else 3 if s else 1 for a, s in zip(document.answer, suffix, strict=True)]


def micro_batches(batch: Sequence[Row], micro: int) -> list[list[Row]]:
    """Groups of at most `micro` rows of similar width; a function of the rows alone, whoever runs which group."""
    if micro < 1:
        raise BadInput(f"micro should be at least 1 row, found {micro}.")
    order = sorted(range(len(batch)), key=lambda i: (sum(map(len, batch[i])), i))
    return [[batch[i] for i in order[k : k + micro]] for k in range(0, len(order), micro)]


def _cut(document: Document, start: int, context: int) -> int:
    """Where a piece from `start` ends: at the last allowed cut within `context` tokens, or there where none is."""
    limit = min(start + context, len(document))
    if limit == len(document):
        return limit
    return max((c for c in document.cuts if start < c <= limit), default=limit)


def _learnable(pieces: list[Document], say: Callable[[str], None]) -> list[Document]:
    kept = [p for p in pieces if any(p.answer)]
    if len(kept) < len(pieces):
        say(
            f"{pieces[0].name}: {len(pieces) - len(kept)} of {len(pieces)} pieces held nothing to learn and were left out"
        )
    return kept


class Few:
    """Passes on the first `most` remarks and says so at the last of them."""

    def __init__(self, say: Callable[[str], None], most: int = 5) -> None:
        self.say, self.left = say, most

    def __call__(self, text: str) -> None:
        self.left -= 1
        if self.left >= 0:
            self.say(text + ("; further ones like this are not listed" if self.left == 0 else ""))


def _quiet(_: str) -> None:
    pass
