"""A conversation on standard input, a line a turn."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from redraft.cli import output


def turns(model: Any, answer: Callable[[list[int]], Any], quiet: bool) -> list[dict[str, str]]:
    """Read lines until the end, answer each, and return the messages; `quiet` keeps standard output free.

    A model without a chat template was never trained on turns: it answers each line by itself.
    """
    said: list[dict[str, str]] = []
    alone = model.tokenizer is not None and model.tokenizer.template is None
    if alone and sys.stdin.isatty():
        output.note(f"{model.name} has no chat template: it answers each line by itself. Ctrl-D ends.")
    while (line := _line()) is not None:
        if line == "/reset":
            said = []
            continue
        said.append({"role": "user", "content": line})
        result = answer(model.encode_chat(said[-1:] if alone else said))
        said.append({"role": "assistant", "content": result.text})
        (output.note if quiet else output.put_text)(result.text)
    return said


def _line() -> str | None:
    """The next line that is not blank, or None at the end; on a terminal a blank line ends."""
    tty = sys.stdin.isatty()
    while True:
        if tty:
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline()
        if tty and not line:
            sys.stderr.write("\n")
        if not line or (tty and not line.strip()):
            return None
        if line.strip():
            return line.rstrip("\n")
