"""The canvas as it is denoised, in place: open columns as dim blocks, what this forward committed highlighted."""

from __future__ import annotations

import time
from itertools import groupby
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from redraft.cli.output import printable

STYLE = {"prompt": "dim", "open": "dim", "old": "", "new": "bold green"}
_EVERY = 0.04  # seconds between two pictures: more often costs time that no eye sees


def paint(model: Any, tokens: list[int], known: list[bool], fresh: list[bool], start: int) -> Text:
    """One canvas: prompt dim, open columns as blocks, `fresh` tokens highlighted; the answer begins at `start`."""

    def kind(column: int) -> str:
        if not known[column]:
            return "open"
        if column < start:
            return "prompt"
        return "new" if fresh[column] else "old"

    text = Text()
    for name, columns in groupby(range(len(tokens)), key=kind):
        run = [tokens[column] for column in columns]
        text.append("░" * len(run) if name == "open" else words(model, run), STYLE[name])
    return text


def words(model: Any, tokens: list[int]) -> str:
    """The text of `tokens`, or the ids themselves where the model has no tokenizer."""
    if model.tokenizer is None:
        return "".join(f"{token} " for token in tokens)
    return printable(model.decode(tokens))


def footer(forwards: int, committed: int, started: float) -> Text:
    """Forwards, tokens per forward and seconds so far, on one line."""
    rate = committed / max(forwards, 1)
    seconds = time.perf_counter() - started
    said = f"forward {forwards}  {committed} tokens  {rate:.2f} tokens per forward  {seconds:.1f} s"
    return Text(said, "dim italic", no_wrap=True, overflow="ellipsis")


class Watch:
    """A context whose value is an `on_step` callback that shows the first prompt's canvas on `console`."""

    def __init__(self, model: Any, console: Console) -> None:
        self.model, self.console = model, console
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self.started = self.shown = time.perf_counter()
        self.fresh: Any = None  # (T,) bool: changed since the last picture

    def __enter__(self) -> Watch:
        self.live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.__exit__(kind, error, trace)

    def __call__(self, event: Any) -> None:
        if 0 not in event.rows:
            return
        row = event.rows.index(0)
        tokens, known, changed = event.tokens[row], event.known[row], event.changed[row]
        kept = self.fresh is not None and self.fresh.shape == changed.shape
        self.fresh = self.fresh | changed if kept else changed
        now = time.perf_counter()
        if now - self.shown < _EVERY:
            return
        start = int(event.prompt_length[row])
        text = paint(self.model, tokens.tolist(), known.tolist(), self.fresh.tolist(), start)
        foot = footer(event.forward, int(known[start:].sum()), self.started)
        self.live.update(Group(self._fit(text), foot), refresh=True)
        self.shown, self.fresh = now, None

    def _fit(self, text: Text) -> Text:
        """The lines around the newest change that the terminal has room for."""
        room = max(self.console.height - 3, 1)
        lines = text.wrap(self.console, self.console.width)
        fresh = [at for at, line in enumerate(lines) if any(span.style == STYLE["new"] for span in line.spans)]
        end = min(max((fresh[-1] if fresh else 0) + room // 2, room), len(lines))
        return Text("\n").join(lines[max(end - room, 0) : end])


class Progress:
    """A context whose value is an `on_step` callback that shows one line of progress on `console`."""

    def __init__(self, console: Console) -> None:
        self.status = console.status("decoding")
        self.started = self.shown = time.perf_counter()

    def __enter__(self) -> Progress:
        self.status.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.status.__exit__(kind, error, trace)

    def __call__(self, event: Any) -> None:
        now = time.perf_counter()
        if now - self.shown < _EVERY:
            return
        self.shown = now
        committed = sum(
            int(known[start:].sum()) for known, start in zip(event.known, event.prompt_length.tolist(), strict=True)
        )
        self.status.update(footer(event.forward, committed, self.started))
