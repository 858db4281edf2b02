"""Parquet files and hub data sets, through pyarrow and datasets (`pip install 'redraft[data]'`)."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.errors import BadInput, Unreachable
from .records import Data, Names, Record, digest, names_of, record_of, wanted

_HUB = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?::(?P<config>[\w.-]+))?(?:@(?P<split>[\w.\[\]:%-]+))?")


def is_hub(path: str) -> bool:
    """Whether a path that is no file looks like "org/name", perhaps with ":config" or "@split"."""
    return not Path(path).exists() and bool(_HUB.fullmatch(path)) and Path(path).suffix not in SUFFIXES


SUFFIXES = (".txt", ".md", ".jsonl", ".ndjson", ".parquet", ".gz", ".xz", ".json", ".csv")


def parquet(path: Path) -> Any:
    """An open pyarrow.parquet.ParquetFile."""
    try:
        import pyarrow
        import pyarrow.parquet as reader
    except ImportError:
        raise BadInput(f"reading {path} needs pyarrow; install it by pip install 'redraft[data]'.") from None
    if not path.is_file():
        raise BadInput(f"there is no data file {path}; check the name.")
    try:
        return reader.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path} is not a whole parquet file ({_first(error)}); copy it again.") from None


def parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """(origin, row) of a parquet file, a batch at a time in memory."""
    number = 0
    for batch in parquet(path).iter_batches(batch_size=256):
        for row in batch.to_pylist():
            number += 1
            yield f"{path}, row {number}", row


def hub(path: str, stream: bool) -> Any:
    """The data set of a hub id; Unreachable where it is neither in the cache nor to be had."""
    found = _HUB.fullmatch(path)
    if not found:
        raise BadInput(f"a hub id is written org/name, org/name:config or org/name@split, found {path!r}.")
    try:
        import datasets
    except ImportError:
        raise BadInput(f"the hub data set {path} needs datasets; pip install 'redraft[data]'.") from None
    try:
        return datasets.load_dataset(found["id"], found["config"], split=found["split"] or "train", streaming=stream)
    except (ConnectionError, OSError, datasets.exceptions.DatasetsError) as error:
        raise Unreachable(
            f"the hub data set {path} could not be had ({_first(error)}); go online, unset HF_HUB_OFFLINE, or give local "
            "files."
        ) from None
    except ValueError as error:
        raise BadInput(f"the hub data set {path} could not be opened ({_first(error)}); check its name.") from None


def hub_rows(path: str) -> Iterator[tuple[str, Any]]:
    """(origin, row) of a hub data set, streamed."""
    for number, row in enumerate(hub(path, True), 1):
        yield f"{path}, row {number}", row


class Table:
    """A parquet file or hub data set by row: row groups, or the hub cache's files, are read as they are needed."""

    def __init__(self, path: str, kind: str, data: Data) -> None:
        self.path = path
        self.rows: Any = _Parquet(Path(path)) if kind == "parquet" else hub(path, False)
        self.kept = array("q")
        names: Names | None = None
        for i in range(len(self.rows)):
            origin = self._origin(i)
            row = self.rows[i]
            names = names or names_of(row, data, origin)
            if wanted(digest(record_of(row, names, origin)), data):
                self.kept.append(i)
        if names is None:
            raise BadInput(f"{path} holds no row; give a data set with at least one.")
        self.names: Names = names

    def _origin(self, row: int) -> str:
        return f"{self.path}, row {row + 1}"

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> Record:
        row = self.kept[index]
        return record_of(self.rows[row], self.names, self._origin(row))


class _Parquet:
    """Rows of a parquet file from an Arrow file on disk, unpacked once and mapped into memory."""

    def __init__(self, path: Path) -> None:
        import tempfile

        table = parquet(path)
        import pyarrow

        self._folder = tempfile.TemporaryDirectory(prefix="redraft-")
        target = Path(self._folder.name) / "rows.arrow"
        with pyarrow.OSFile(str(target), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema_arrow) as writer:
            self.ends: list[int] = []
            for batch in table.iter_batches(batch_size=256):
                writer.write_batch(batch)
                self.ends.append((self.ends[-1] if self.ends else 0) + len(batch))
        self._reader = pyarrow.ipc.open_file(pyarrow.memory_map(str(target)))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> Any:
        from bisect import bisect_right

        part = bisect_right(self.ends, index)
        inside = index - (self.ends[part - 1] if part else 0)
        return self._reader.get_batch(part).slice(inside, 1).to_pylist()[0]


def _first(error: BaseException) -> str:
    return " ".join(str(error).split())[:160].rstrip(". ")
