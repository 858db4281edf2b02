"""Files as bytes that can be addressed: compressed ones are unpacked once into an unnamed file, none is loaded."""

from __future__ import annotations

import gzip
import lzma
import mmap
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ...core.errors import BadInput

CHUNK = 1 << 18
LINE, MARK = b"\n", b"\xef\xbb\xbf"  # the byte order mark that some editors put before UTF-8
COMPRESSED: dict[str, Callable[[Path], Any]] = {".gz": gzip.GzipFile, ".xz": lzma.LZMAFile}
FORMATS = {".txt": "text", ".md": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def format_of(path: Path) -> str:
    """text, jsonl or parquet by the file's name; BadInput for any other name."""
    if path.is_dir():
        raise BadInput(f"{path} is a folder; give the files in it.")
    names = path.suffixes
    if names and names[-1] in COMPRESSED:
        names = names[:-1]
    if names and names[-1] in FORMATS:
        return FORMATS[names[-1]]
    raise BadInput(
        f"the format of {path} cannot be told from its name; give --read format=text, jsonl or parquet "
        f"(known are {', '.join(FORMATS)}, with .gz or .xz behind)."
    )


def opened(path: Path) -> IO[bytes]:
    """A reader of the unpacked bytes."""
    if not path.is_file():
        raise BadInput(f"there is no data file {path}; check the name.")
    unpack = COMPRESSED.get(path.suffix)
    found: IO[bytes] = unpack(path) if unpack else path.open("rb")
    return found


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Turns what a broken archive raises into a sentence."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise BadInput(
            f"{path} is not a whole {path.suffix} file ({str(error).rstrip('.')}); it was cut off or damaged, so copy "
            "it again."
        ) from None


class Bytes:
    """The unpacked bytes of a file by place, safe to use after a fork."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] = opened(path)
        if path.suffix in COMPRESSED:
            packed, self._file = self._file, tempfile.TemporaryFile()  # noqa: SIM115
            with packed, whole(path):
                while chunk := packed.read(CHUNK):
                    self._file.write(chunk)
            self._file.flush()
        self.size = self._file.seek(0, 2)
        if not self.size:
            raise BadInput(f"{path} is empty; give a file with at least one document.")
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def at(self, start: int, stop: int) -> bytes:
        return self._map[start:stop]

    def rfind(self, sign: bytes, start: int, stop: int) -> int:
        return self._map.rfind(sign, start, stop)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(start, line with its line end)."""
        start = 0
        while start < self.size:
            stop = self._map.find(b"\n", start) + 1 or self.size
            yield start, self._map[start:stop]
            start = stop


def rows_of(lines: Iterable[bytes], origin: Callable[[int], str]) -> Iterator[tuple[int, bytes]]:
    """(number, line) of a jsonl file's lines; blank ones may stand at the end only."""
    blank = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            blank = blank or number
        elif blank:
            raise BadInput(f"{origin(blank)} is empty; every line should hold one JSON object, so remove it.")
        else:
            yield number, line


def lines_of(path: Path) -> Iterator[bytes]:
    """A file's lines one after the other, nothing kept."""
    with opened(path) as stream, whole(path):
        yield from stream


def decoded(raw: bytes, origin: str, line: int = 0) -> str:
    """UTF-8, or BadInput with the first byte that is none; `line` is the number of the first line, for the message."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        where = f"{origin}, line {line + before.count(LINE)}" if line else origin
        place = error.start - before.rfind(LINE) - 1
        raise BadInput(
            f"{where} is not valid UTF-8 (byte {raw[error.start]:#04x} at place {place} of it); convert the file to UTF-8."
        ) from None
