"""What a data source gives and what rows are made of: numbered documents of token ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...core.errors import BadInput

PIECE = 1 << 32  # a document's k-th piece has the number of the document + k * PIECE


@dataclass(frozen=True)
class Special:
    """Token ids with a meaning: eos ends an answer, pad fills columns that do not exist, mask (or None) hides a token,
    pads are Rainbow Padding's cycle, ends are all ids at which decoding stops (an end-of-turn token among them)."""

    eos: int
    pad: int
    mask: int | None = None
    pads: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()


@dataclass(frozen=True)
class Document:
    """One numbered piece of data.

    number  keys its noise and keeps it apart from others; PIECE tells the pieces of one document apart
    tokens  ids
    answer  what may be noised and is learned; all else is known
    suffix  known text behind a gap, or None
    task    a name for the log, or ""
    ended   the text ends here, so that an end token may follow; False: it goes on, or brings its own end
    cuts    places where it may be cut without splitting a turn; (): anywhere
    origin  file and line, for messages
    """

    number: int
    tokens: list[int]
    answer: list[bool]
    suffix: list[bool] | None = None
    task: str = ""
    ended: bool = True
    cuts: tuple[int, ...] = ()
    origin: str = ""

    def __post_init__(self) -> None:
        lengths = {len(self.tokens), len(self.answer), len(self.tokens if self.suffix is None else self.suffix)}
        if len(lengths) > 1:
            raise BadInput(
                f"a document's tokens, answer and suffix should be equally long, found {sorted(lengths)} in "
                f"{self.name}; mend the source."
            )

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def name(self) -> str:
        return self.origin or f"document {self.number}"


class Source(Protocol):
    """Documents by number, without end: files in epochs, each in an order of its own; streams one after the other.

    The same (source, number) gives the same document in every process and after every resume.
    """

    def read(self, first: int, count: int) -> list[Document]:
        """Documents first, ..., first + count - 1."""
        ...
