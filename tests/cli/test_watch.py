"""The canvas on a terminal: blocks shrink, what is new is marked, the last picture fits the window."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import torch
from rich.console import Console

from redraft.cli import watch
from redraft.cli.output import printable


class Letters:
    tokenizer: Any = object()

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(97 + token % 26) for token in tokens)


def event(known: list[int], changed: list[int], start: int = 1) -> Any:
    width = len(known)
    return SimpleNamespace(
        forward=3,
        rows=(0,),
        tokens=torch.arange(width)[None],
        known=torch.tensor([known], dtype=torch.bool),
        changed=torch.tensor([changed], dtype=torch.bool),
        prompt_length=torch.tensor([start]),
    )


def test_paint_marks_open_old_and_new() -> None:
    known, fresh = [True, True, True, False, False, True], [False, False, True, False, False, False]
    text = watch.paint(Letters(), list(range(6)), known, fresh, 1)
    assert text.plain == "abc░░f"
    styles = {text.plain[span.start : span.end]: str(span.style) for span in text.spans}
    assert styles == {"a": "dim", "c": "bold green", "░░": "dim"}


def test_ids_stand_for_words_without_a_tokenizer() -> None:
    model = Letters()
    model.tokenizer = None
    assert watch.paint(model, [0, 1, 2], [True, True, False], [False] * 3, 1).plain == "0 1 ░"


def test_live_view_fits_and_leaves_nothing_behind() -> None:
    sheet = io.StringIO()
    console = Console(file=sheet, force_terminal=True, width=60, height=6, color_system="standard")
    known = [1] * 2000
    with watch.Watch(Letters(), console) as view:
        view.shown = 0.0
        view(event(known, [0] * 1950 + [1] * 50))
        picture = sheet.getvalue()
    assert "666.33 tokens per forward" in picture
    assert picture.count("\n") == 3
    assert "\x1b[2K" in sheet.getvalue()[len(picture) :]


def test_what_changed_between_two_pictures_is_new() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with watch.Watch(Letters(), console) as view:
        view.shown = float("inf")
        view(event([1, 1, 0, 0], [0, 1, 0, 0]))
        view(event([1, 1, 1, 0], [0, 0, 1, 0]))
        assert view.fresh.tolist() == [False, True, True, False]
        view.shown = 0.0
        view(event([1, 1, 1, 1], [0, 0, 0, 1]))
        assert view.fresh is None


def test_a_step_of_other_prompts_is_not_shown() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    other = event([1, 1], [0, 0])
    other.rows = (4,)
    with watch.Watch(Letters(), console) as view:
        view.shown = 0.0
        view(other)
        assert view.shown == 0.0


def test_progress_line_counts_committed_tokens() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with watch.Progress(console) as view:
        view.shown = 0.0
        view(event([1, 1, 1, 0], [0, 0, 1, 0]))
        assert "forward 3  2 tokens  0.67 tokens per forward" in str(view.status.status)


def test_control_signs_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n\tc\r") == "a\ufffd[2Jb\n\tc\ufffd"
