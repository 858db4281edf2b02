"""Anything that can go wrong in a verb, as an exit code and one sentence."""

from __future__ import annotations

import re
from typing import Any

import typer

from redraft.core.errors import RedraftError, UnknownName


def explain(error: Any) -> tuple[int, str]:
    """(exit code, one sentence): 1 for a failure, 2 for a mistyped command line."""
    if isinstance(error, RedraftError):
        return 1, str(error)
    if isinstance(error, typer.Abort):
        return 1, "standard input ended before the command had what it needs; give it as an argument"
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        known = [name for parameter in error.ctx.command.params for name in parameter.opts] if error.ctx else []
        return 2, str(UnknownName("option", error.option_name, known))
    if hasattr(error, "format_message"):
        return 2, _mistyped(error)
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        return 1, f"the system refused{where}: {error.strerror}; check the path and its permissions"
    what = str(error).strip().rstrip(".") or "no message"
    return 1, f"an unexpected {type(error).__name__} ({what}) stopped the command; set REDRAFT_DEBUG=1 to see where"


def _mistyped(error: Any) -> str:
    text = " ".join(error.format_message().split())
    verb = re.match(r"No such command '(.*?)'", text)
    if verb:
        return str(UnknownName("command", verb[1], error.ctx.command.commands))
    return f"{text[:1].lower()}{text[1:].rstrip('.')}; see redraft --help"
