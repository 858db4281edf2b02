"""Where words go: one value on standard output, everything else on standard error."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from rich.console import Console

# Escape sequences and other control signs a model may write would drive the terminal; newline and tab are text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """`text` with control signs shown as the replacement sign, so that a model cannot drive the terminal."""
    return _CONTROL.sub("\ufffd", text)


def stdout() -> Console:
    """A console on standard output as it is now; plain when it is not a terminal."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def stderr() -> Console:
    """A console on standard error as it is now."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def put_json(value: Any) -> None:
    """The one value of `--json` on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def put_text(text: str) -> None:
    """An answer on standard output: exact when piped, made harmless on a terminal."""
    sys.stdout.write((printable(text) if sys.stdout.isatty() else text) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A remark on standard error."""
    stderr().print(printable(text), markup=False)


def sentence(text: str) -> str:
    """`text` on one line, ending as a sentence does."""
    line = " ".join(text.split())
    return line if line.endswith((".", "?", "!")) else line + "."
