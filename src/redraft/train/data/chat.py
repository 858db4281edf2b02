"""Dialogues as documents: the tokenizer's chat template renders them whole, and the assistant's turns are learned.

A turn is what follows the prompt that decoding would be given at its place (the template's own generation prompt), up
to and with its end-of-turn token. Control tokens count where the template writes them; in messages the same texts are
ordinary characters, as in `models.text`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.errors import BadInput
from ...models.text import Text
from .records import Dialogue

_OPEN, _CLOSE = "\ue000", "\ue001"
Piece = tuple[str, bool]  # text, learned


def spans(
    text: Text, dialogue: Dialogue, mask: int | None, every: bool = True
) -> tuple[list[int], list[bool], list[int]]:
    """(ids, learned, places behind each learned turn) of a dialogue up to its last assistant turn.

    every   all assistant turns are learned; False: the last one
    """
    last = max(i for i, m in enumerate(dialogue.messages) if m["role"] == "assistant")
    messages = dialogue.messages[: last + 1]
    if text.template is None:
        return _encoded(text, _plain(messages, every), mask, {})
    hidden: list[str] = []
    safe = [_hide(m, _guard(text, mask), hidden) for m in messages]
    chat = _Template(text, dialogue)
    return _encoded(text, chat.pieces(safe, every), mask, dict(enumerate(hidden)))


def _plain(messages: Sequence[Mapping[str, Any]], every: bool) -> list[Piece]:
    """Without a template as decoding has it: the history line by line, and the last answer right behind it."""
    out: list[Piece] = []
    for i, m in enumerate(messages):
        last = i == len(messages) - 1
        if i and not last:
            out.append(("\n", False))
        out.append((m["content"], m["role"] == "assistant" and (every or last)))
    return out


class _Template:
    """Renders messages whose control texts are hidden, and finds the assistant's turns in the result."""

    def __init__(self, text: Text, dialogue: Dialogue) -> None:
        self.text, self.dialogue = text, dialogue
        self.controls = re.compile(
            "|".join(re.escape(c) for c in sorted(text.controls, key=len, reverse=True)) or r"\Z."
        )

    def render(self, messages: Sequence[Mapping[str, Any]], opening: bool) -> str:
        import jinja2
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            rendered, _ = render_jinja_template(
                conversations=[[dict(m) for m in messages]],
                tools=list(self.dialogue.tools) if self.dialogue.tools else None,
                chat_template=self.text.template,
                add_generation_prompt=opening,
                **self.text.special,
            )
        except (jinja2.TemplateError, TypeError, AttributeError) as error:
            raise BadInput(
                f"{self.dialogue.origin}: the tokenizer's chat template refused the messages ({error}); check their "
                "roles and fields."
            ) from None
        return str(rendered[0])

    def pieces(self, messages: Sequence[Mapping[str, Any]], every: bool) -> list[Piece]:
        whole, done = self.render(messages, False), 0
        out: list[Piece] = []
        for i, m in enumerate(messages):
            if m["role"] != "assistant" or not (every or i == len(messages) - 1):
                continue
            start = self._start(messages, i, whole)
            if start is None or start < done:
                raise BadInput(
                    f"{self.dialogue.origin}: the chat template writes the turns before message {i + 1} otherwise once "
                    "it stands there, so what is learned would not follow the prompt of decoding; give --read turns=last or "
                    "one, or take another template."
                )
            stop = self._stop(messages, i, whole, start)
            out += [(whole[done:start], False), (whole[start:stop], True)]
            done = stop
        return [p for p in out if p[0]]

    def _start(self, messages: Sequence[Mapping[str, Any]], i: int, whole: str) -> int | None:
        """Behind the prompt that decoding would see."""
        prompt = self.render(messages[:i], True) if i else self._opening(messages, whole)
        return len(prompt) if whole.startswith(prompt) else None

    def _opening(self, messages: Sequence[Mapping[str, Any]], whole: str) -> str:
        """What stands before a first message of the assistant: templates need not render an empty chat."""
        content = str(messages[0]["content"])
        return whole[: max(whole.find(content), 0)]

    def _stop(self, messages: Sequence[Mapping[str, Any]], i: int, whole: str, start: int) -> int:
        """Behind the turn's end-of-turn token, or behind its text where the template writes none."""
        turn = self.render(messages[: i + 1], False)
        listens = turn != self.render(messages[: i + 1], True)
        found = list(
            self.controls.finditer(whole, start, len(turn) if listens and whole.startswith(turn) else len(whole))
        )
        if listens and whole.startswith(turn):
            return found[-1].end() if found else len(turn)
        if not found:
            raise BadInput(
                f"{self.dialogue.origin}: no end-of-turn token follows message {i + 1} in the chat template's text; give "
                "--read turns=last or one."
            )
        return found[0].end()


def _guard(text: Text, mask: int | None) -> re.Pattern[str]:
    names = {*text.controls, _OPEN}
    if mask is not None and text.backend.id_to_token(mask) is not None:
        names.add(str(text.backend.id_to_token(mask)))
    return re.compile("|".join(re.escape(n) for n in sorted(names, key=len, reverse=True)))


def _hide(value: Any, guard: re.Pattern[str], kept: list[str]) -> Any:
    """The value with every control text in it replaced by a number between two private signs."""
    if isinstance(value, str):

        def one(found: re.Match[str]) -> str:
            kept.append(found[0])
            return f"{_OPEN}{len(kept) - 1}{_CLOSE}"

        return guard.sub(one, value)
    if isinstance(value, dict):
        return {key: _hide(v, guard, kept) for key, v in value.items()}
    if isinstance(value, list):
        return [_hide(v, guard, kept) for v in value]
    return value


def _encoded(
    text: Text, pieces: list[Piece], mask: int | None, hidden: Mapping[int, str]
) -> tuple[list[int], list[bool], list[int]]:
    ids: list[int] = []
    learned: list[bool] = []
    borders: list[int] = []
    for piece, answer in pieces:
        for j, part in enumerate(re.split(f"{_OPEN}(\\d+){_CLOSE}", piece) if hidden or text.template else [piece]):
            if j % 2:
                ids += text.encode(hidden[int(part)], mask, opening=False)
            elif part and text.template is None:
                ids += text.encode(part, mask, opening=not ids)
            elif part:
                ids += text.backend.encode(part, add_special_tokens=False).ids
        learned += [answer] * (len(ids) - len(learned))
        if answer:
            borders.append(len(ids))
    return ids, learned, borders
