"""Training data: sources of numbered documents, and how documents become rows and canvases."""

from .documents import PIECE, Document, Source, Special
from .records import Data, reading
from .rows import Few, Row, canvas, micro_batches, rows
from .source import open_source
from .tasks import TaskSource

__all__ = [
    "PIECE", "Data", "Document", "Few", "Row", "Source", "Special", "TaskSource", "canvas", "micro_batches", "open_source", "reading", "rows",
]  # fmt: skip
