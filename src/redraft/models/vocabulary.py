"""A tokenizer's ids and their roles: which is or becomes the mask token, which are free, and the files that say so."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer

from ..core.errors import BadInput
from .text import Text

MASK_TEXT = "<|mask|>"
CALLED_MASK = (MASK_TEXT, "<mask>", "[MASK]", "<|MASK|>", "|<MASK>|", "<|mdm_mask|>")
RESERVED = re.compile(
    r"<\|fim_pad\|>|<\|reserved(_special_token)?_\d+\|>|<reserved_\d+>|<\|?unused_?\d+\|?>|\[unused\d+\]"
    r"|<extra_id_\d+>|<\|extra_\d+\|>|<\|placeholder\d+\|>|<\|dummy_\d+\|>|<SPECIAL_\d+>"
)


class Vocabulary:
    """Which ids a tokenizer uses and which are free for new roles; rows: of the embedding."""

    def __init__(self, text: Text | None, rows: int, eos: Sequence[int]) -> None:
        self.old, self.rows, self.next = text, rows, rows
        self.backend: Tokenizer | None = None if text is None else Tokenizer.from_str(text.backend.to_str())
        self.used = set(eos)
        self.added: dict[str, int] = {}
        if text is not None and self.backend is not None:
            self.used |= {one for one in map(self.backend.token_to_id, text.special.values()) if one is not None}

    def mask(self, wanted: str | int | None, own: int | None) -> tuple[str, int]:
        """(key of WAYS, id)."""
        if wanted is None and own is not None:
            self._remember(self.name(own), own)
            return "checkpoint", own
        if isinstance(wanted, int) and not isinstance(wanted, bool):
            return "given", self._given_id(wanted)
        if wanted is not None and (not isinstance(wanted, str) or not wanted):
            raise BadInput(f"mask should be a token's text or id, found {wanted!r}.")
        if wanted is not None:
            return self._given_text(wanted)
        named = None if self.old is None else self.old.special.get("mask_token")
        for one in (named, *CALLED_MASK):
            known = None if one is None or self.backend is None else self.backend.token_to_id(one)
            if one is not None and known is not None and known < self.rows and (one == named or known not in self.used):
                self._remember(one, known)
                return "known", known
        return self.claim(MASK_TEXT)

    def claim(self, name: str) -> tuple[str, int]:
        """A reserved token, else `name` in a free row, else in a new one."""
        if self.backend is None:
            self.next += 1
            return "new", self.next - 1
        template = (self.old.template if self.old is not None else None) or ""
        held = sorted((one, text) for text, one in self.backend.get_vocab(True).items() if RESERVED.fullmatch(text))
        for one, text in held:
            if one < self.rows and one not in self.used and text not in template:
                self._remember(text, one)
                return "reserved", one
        return self._add(name)

    def _given_id(self, wanted: int) -> int:
        if not 0 <= wanted < self.rows:
            raise BadInput(
                f"mask should be an id from 0 to {self.rows - 1}, found {wanted}; give a text for a new token."
            )
        if wanted in self.used:
            raise BadInput(f"mask should be a token without another role, and {wanted} has one; choose another.")
        if self.backend is not None and self.backend.id_to_token(wanted) is None:
            if self._next_id() != wanted:
                raise BadInput(
                    f"mask should be an id the tokenizer knows or its next one, {self._next_id()}, found {wanted}; "
                    "choose one of these or give a text."
                )
            self._add(MASK_TEXT)
        else:
            self._remember(self.name(wanted), wanted)
        return wanted

    def _given_text(self, wanted: str) -> tuple[str, int]:
        if self.backend is None:
            raise BadInput(f"mask {wanted!r} is a text, and this model has no tokenizer; give an id or leave it out.")
        known = self.backend.token_to_id(wanted)
        if known is None:
            return self._add(wanted)
        if known in self.used and wanted != (self.old and self.old.special.get("mask_token")):
            raise BadInput(f"mask should be a token without another role, and {wanted!r} has one; choose another.")
        self._remember(wanted, known)
        return "given", known

    def _next_id(self) -> int:
        assert self.backend is not None
        probe = Tokenizer.from_str(self.backend.to_str())
        probe.add_special_tokens([AddedToken("\ue000next\ue001", special=True, normalized=False)])
        return _id(probe, "\ue000next\ue001")

    def _add(self, name: str) -> tuple[str, int]:
        assert self.backend is not None
        while self.backend.token_to_id(name) is not None:
            name = f"{name[:-2]}_|>" if name.endswith("|>") else f"{name}_"
        self.backend.add_special_tokens([AddedToken(name, special=True, normalized=False)])
        one = _id(self.backend, name)
        self._remember(name, one)
        return ("padded" if one < self.rows else "new"), one

    def _remember(self, name: str, one: int) -> None:
        self.used.add(one)
        if self.backend is not None and name:
            self.backend.add_special_tokens([AddedToken(name, special=True, normalized=False)])
            self.added[name] = one

    def name(self, one: int | None) -> str:
        """The text of an id, "" where it has none."""
        found = None if one is None or self.backend is None else self.backend.id_to_token(one)
        return found or ""

    def known(self) -> list[int]:
        """The rows the tokenizer used before; all of them where there is no tokenizer."""
        if self.old is None:
            return list(range(self.rows))
        return sorted({one for one in self.old.backend.get_vocab(True).values() if one < self.rows})

    def text(self, mask: int | None) -> Text | None:
        """The tokenizer with its new roles, in its files too."""
        if self.old is None or self.backend is None:
            return None
        name = self.name(mask)
        special = self.old.special | ({"mask_token": name} if name else {})
        files = {one: content for one, content in self.old.files.items() if one != "tokenizer.json"}
        if self.old.files:
            files["tokenizer.json"] = self.backend.to_str(pretty=True).encode()
            config = table(files.get("tokenizer_config.json")) or {
                "tokenizer_class": "PreTrainedTokenizerFast",
                **special,
            }
            role = {"mask_token": name} if name else {}
            listed = config.get("added_tokens_decoder")
            if isinstance(listed, dict):
                config["added_tokens_decoder"] = listed | {str(one): _entry(t) for t, one in self.added.items()}
            files["tokenizer_config.json"] = as_bytes(config | role)
            if "special_tokens_map.json" in files:
                files["special_tokens_map.json"] = as_bytes((table(files["special_tokens_map.json"]) or {}) | role)
            if "added_tokens.json" in files:
                files["added_tokens.json"] = as_bytes((table(files["added_tokens.json"]) or {}) | self.added)
        return Text(self.backend, self.old.template, special, files)


def _id(backend: Tokenizer, name: str) -> int:
    found = backend.token_to_id(name)
    assert found is not None
    return int(found)


def _entry(text: str) -> dict[str, Any]:
    plain = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    return {"content": text, **plain, "special": True}


def table(content: bytes | None) -> dict[str, Any] | None:
    value = json.loads(content) if content else None
    return value if isinstance(value, dict) else None


def as_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
