"""Sources of documents by number: indexed files, which are shuffled, and streams, which are read in order."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Protocol

from ...core.errors import BadInput
from ...models.text import Text
from ...recipes.recipe import Rows
from .documents import Document, Source, Special
from .encode import Encoder
from .files import LINE, MARK, Bytes, decoded, format_of, lines_of, rows_of
from .order import shuffled
from .records import Data, Names, Passage, Record, digest, names_of, parsed, record_of, wanted
from .tables import Table, hub_rows, is_hub, parquet_rows

SAMPLE = 1 << 15  # bytes from which a text file's bytes per token are measured


Span = Callable[[str], int]  # a text's sample -> bytes of a piece


class Records(Protocol):
    """Records by place."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Record: ...


def open_source(data: Data, text: Text, special: Special, settings: Rows, seed: int) -> Source:
    """The data's documents by number, without end.

    Files are gone through once: every row is checked, so that a bad one is named before training and not hours later.
    With data.stream nothing is gone through beforehand. Texts longer than a row are cut into numbered documents of
    about a row each where settings.long is "split"; special-token texts in the data are ordinary characters.
    """
    encoder = Encoder(text, special, data, seed)
    span = _span(text, special, settings)
    if data.stream:
        return Stream(lambda: _streamed(data, span), encoder)
    parts = [part for path in data.paths for part in _indexed(path, data, span)]
    return Shuffled(parts, encoder, data, seed)


class Shuffled:
    """Indexed records: document n is record n modulo their number, in an order of each epoch's own."""

    def __init__(self, parts: list[Records], encoder: Encoder, data: Data, seed: int) -> None:
        self.parts, self.encoder, self.data, self.seed = parts, encoder, data, seed
        self.ends: list[int] = []
        for part in parts:
            self.ends.append((self.ends[-1] if self.ends else 0) + len(part))
        self.size = self.ends[-1] if self.ends else 0
        if not self.size:
            raise BadInput(
                f"{', '.join(data.paths)} has no document in the {data.part} part (held_out {data.held_out}); give more "
                "data or another share."
            )

    def __len__(self) -> int:
        """Documents of one epoch."""
        return self.size

    def record(self, number: int) -> Record:
        epoch, place = divmod(number, self.size)
        if self.data.shuffle:
            place = shuffled(place, self.size, self.seed, epoch)
        part = bisect_right(self.ends, place)
        return self.parts[part][place - self.ends[part]]

    def read(self, first: int, count: int) -> list[Document]:
        return [self.encoder.document(self.record(n), n) for n in range(first, first + count)]


class Stream:
    """Records in the order in which they come, then again from the start; document n is the n-th of them.

    Reading on is free, going back starts the stream anew and skips.
    """

    def __init__(self, start: Callable[[], Iterator[Record]], encoder: Encoder) -> None:
        self.start, self.encoder = start, encoder
        self.next, self.records = 0, self._endless()

    def _endless(self) -> Iterator[Record]:
        while True:
            some = False
            for record in self.start():
                some = True
                yield record
            if not some:
                raise BadInput("the data stream has no document in this part; give more data or another share.")

    def read(self, first: int, count: int) -> list[Document]:
        if first < self.next:
            self.next, self.records = 0, self._endless()
        for _ in islice(self.records, first - self.next):
            pass
        self.next = first
        out = []
        for record in islice(self.records, count):
            self.next += 1
            out.append(self.encoder.document(record, self.next - 1))
        return out


class Lines:
    """A jsonl file: an index of the lines' places, 24 bytes a row."""

    def __init__(self, path: Path, data: Data) -> None:
        self.bytes, self.path = Bytes(path), path
        self.starts, self.stops, self.numbers = array("q"), array("q"), array("q")
        names: Names | None = None
        stop = 0

        def lines() -> Iterator[bytes]:
            nonlocal stop
            for start, line in self.bytes.lines():
                stop = start + len(line)
                yield line

        for number, line in rows_of(lines(), self._origin):
            row = parsed(line, self._origin(number))
            names = names or names_of(row, data, self._origin(number))
            if wanted(digest(record_of(row, names, self._origin(number))), data):
                self.starts.append(stop - len(line))
                self.stops.append(stop)
                self.numbers.append(number)
        if names is None:
            raise BadInput(f"{path} holds no row; give a file with at least one JSON object.")
        self.names: Names = names

    def _origin(self, number: int) -> str:
        return f"{self.path}, line {number}"

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Record:
        origin = self._origin(self.numbers[index])
        raw = self.bytes.at(self.starts[index], self.stops[index])
        return record_of(parsed(raw, origin), self.names, origin)


class Texts:
    """A text file: an index of its documents' places, long ones in pieces of about a row, 25 bytes a piece."""

    def __init__(self, path: Path, data: Data, span: Span) -> None:
        self.bytes, self.path = Bytes(path), path
        self.starts, self.stops, self.numbers = array("q"), array("q"), array("q")
        self.flags = array("b")  # 1 begins a document, 2 ends one
        size = 0
        for number, start, stop in passages(self.bytes.lines(), data.document):
            size = size or span(decoded(self.bytes.at(start, sample_end(self.bytes, start, stop)), str(path), number))
            line, hashed, found = number, hashlib.blake2b(digest_size=8), len(self.starts)
            for low, high in pairwise((start, *pieces(self.bytes, start, stop, size), stop)):
                raw = self.bytes.at(low, high)
                decoded(raw, str(path), line)
                hashed.update(raw)
                self.starts.append(low)
                self.stops.append(high)
                self.numbers.append(line)
                self.flags.append((low == start) + 2 * (high == stop))
                line += raw.count(LINE)
            if not wanted(hashed.digest(), data):
                for column in (self.starts, self.stops, self.numbers, self.flags):
                    del column[found:]
        if not size:
            raise BadInput(f"{path} holds nothing but blanks; give a file with at least one document.")

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Record:
        flags = self.flags[index]
        raw = self.bytes.at(self.starts[index], self.stops[index])
        return Passage(
            raw.decode("utf-8"), f"{self.path}, line {self.numbers[index]}", bool(flags & 1), bool(flags & 2)
        )


def passages(lines: Iterator[tuple[int, bytes]], document: str) -> Iterator[tuple[int, int, int]]:
    """(number of its first line, start, stop without the last line end) of every document of a text file."""
    first = start = stop = -1
    for number, (at, line) in enumerate(lines, 1):
        if number == 1 and line.startswith(MARK):
            at, line = at + len(MARK), line[len(MARK) :]
        blank = not line.strip()
        if stop >= 0 and document != "file" and (blank or document == "line"):
            yield first, start, stop
            stop = -1
        if not blank:
            if stop < 0:
                first, start = number, at
            stop = at + len(line.rstrip())
    if stop >= 0:
        yield first, start, stop


def pieces(raw: bytes | Bytes, start: int, stop: int, span: int) -> Iterator[int]:
    """Cuts that leave at most `span` bytes between them: behind a line end, before a blank or, at worst, anywhere
    between two characters."""
    while stop - start > span:
        low, high = start + span // 2, start + span
        cut = raw.rfind(LINE, low, high) + 1 or raw.rfind(b" ", low, high)
        cut = between(raw, high) if cut <= start else cut
        yield cut
        start = cut


def between(raw: bytes | Bytes, place: int) -> int:
    """The last border between two characters of UTF-8 at or before `place`."""
    for back in range(4):
        (byte,) = (
            raw[place - back : place - back + 1] if isinstance(raw, bytes) else raw.at(place - back, place - back + 1)
        )
        if byte & 0xC0 != 0x80:
            return place - back
    return place


def sample_end(raw: bytes | Bytes, start: int, stop: int) -> int:
    return stop if stop - start <= SAMPLE else between(raw, start + SAMPLE)


def _span(text: Text, special: Special, settings: Rows) -> Span:
    """Bytes of a text that make about a row, from a sample of it: 7/8 of a row, so that most fit whole."""

    def measured(sample: str) -> int:
        if settings.long != "split":
            return 1 << 62
        tokens = len(text.encode(sample, special.mask, opening=False))
        return max(int(len(sample.encode()) / max(tokens, 1) * settings.context * 7 / 8), 16)

    return measured


def _format(path: str, data: Data) -> str:
    if data.format != "auto":
        return data.format
    return "hub" if is_hub(path) else format_of(Path(path))


def _indexed(path: str, data: Data, span: Span) -> list[Records]:
    kind = _format(path, data)
    if kind == "text":
        return [Texts(Path(path), data, span)]
    if kind == "jsonl":
        return [Lines(Path(path), data)]
    return [Table(path, kind, data)]


def _streamed(data: Data, span: Span) -> Iterator[Record]:
    """The records of all files one after the other."""
    for path in data.paths:
        kind = _format(path, data)
        if kind == "text":
            yield from _streamed_texts(Path(path), data, span)
            continue
        names: Names | None = None
        for origin, row in _rows(path, kind):
            names = names or names_of(row, data, origin)
            record = record_of(row, names, origin)
            if wanted(digest(record), data):
                yield record


def _rows(path: str, kind: str) -> Iterator[tuple[str, Any]]:
    def origin(number: int) -> str:
        return f"{path}, line {number}"

    if kind == "jsonl":
        for number, line in rows_of(lines_of(Path(path)), origin):
            yield origin(number), parsed(line, origin(number))
    elif kind == "parquet":
        yield from parquet_rows(Path(path))
    else:
        yield from hub_rows(path)


def _streamed_texts(path: Path, data: Data, span: Span) -> Iterator[Record]:
    """As Texts has them, a document at a time in memory."""
    if data.document == "file":
        raise BadInput(
            "a stream cannot take a whole text file as one document; give --read document=paragraph or line."
        )
    size = 0
    for number, raw in _held(lines_of(path), data.document):
        text = decoded(raw, str(path), number)
        size = size or span(raw[: sample_end(raw, 0, len(raw))].decode("utf-8"))
        if not wanted(hashlib.blake2b(raw, digest_size=8).digest(), data):
            continue
        if len(raw) <= size:
            yield Passage(text, f"{path}, line {number}")
            continue
        for low, high in pairwise((0, *pieces(raw, 0, len(raw), size), len(raw))):
            origin = f"{path}, line {number + raw.count(LINE, 0, low)}"
            yield Passage(raw[low:high].decode("utf-8"), origin, low == 0, high == len(raw))


def _held(lines: Iterator[bytes], document: str) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, bytes) of every document of a stream of lines."""
    held = bytearray()
    place = kept = 0  # bytes gone by before the next line, and before the held ones

    def placed() -> Iterator[tuple[int, bytes]]:
        nonlocal place
        for line in lines:
            held.extend(line)
            place += len(line)
            yield place - len(line), line

    for number, start, stop in passages(placed(), document):
        yield number, bytes(held[start - kept : stop - kept])
        del held[: stop - kept]
        kept = stop
