"""Text to token ids and back, where text is only text: nothing a user writes becomes a mask or control token."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from ..core.errors import BadInput, CheckpointError
from .files import read_json

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
)
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
Messages = Sequence[Mapping[str, Any]]


class Text:
    """A tokenizer with the checkpoint's chat template, in terms of the Rust `tokenizers` backend only.

    backend   the tokenizer
    template  the Jinja chat template, or None
    special   role -> text of the named special tokens, which templates refer to
    files     the checkpoint's tokenizer files as found, written back unchanged by `save`
    """

    def __init__(
        self,
        backend: Tokenizer,
        template: str | None = None,
        special: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        self.backend, self.template = backend, template
        self.special, self.files = dict(special or {}), dict(files or {})

    @cached_property
    def _plain(self) -> Tokenizer:
        """A copy to which special tokens in a text are ordinary characters."""
        copy = Tokenizer.from_str(self.backend.to_str())
        copy.encode_special_tokens = True
        return copy

    @cached_property
    def controls(self) -> tuple[str, ...]:
        """The texts of special tokens."""
        return tuple(one.content for one in self.backend.get_added_tokens_decoder().values() if one.special)

    def encode(self, text: str, mask: int | None, opening: bool = True) -> list[int]:
        """Ids of a text in which nothing is a control token; `opening` adds what the tokenizer puts before a text."""
        added = self._plain.get_added_tokens_decoder().get(mask) if mask is not None else None
        if added is not None and not added.special:
            self._plain.add_special_tokens([AddedToken(added.content, special=True, normalized=added.normalized)])
        out = self._plain.encode(text, add_special_tokens=opening).ids
        if mask is None or mask not in out:
            return list(out)
        name = str(self.backend.id_to_token(mask))
        parts = re.split(f"(?<={re.escape(name[:1])})(?={re.escape(name[1:])})", text) if len(name) > 1 else [text]
        out = [
            one
            for i, part in enumerate(parts)
            for one in self._plain.encode(part, add_special_tokens=opening and not i).ids
        ]
        if mask in out:
            raise BadInput(f"the prompt holds {name!r}, which this tokenizer can only read as its mask; leave it out.")
        return out

    def encode_chat(self, messages: Messages, mask: int | None) -> list[int]:
        """Ids of the rendered chat: the template's control tokens count, the same texts inside a message do not."""
        if self.template is None:
            return self.encode(self.render(messages), mask)
        guarded = [re.escape(one) for one in sorted({*self.controls, "\ue000"}, key=len, reverse=True)]
        kept: list[str] = []

        def hide(found: re.Match[str]) -> str:
            kept.append(found[0])
            return f"\ue000{len(kept) - 1}\ue001"

        hidden = [
            {
                key: re.sub("|".join(guarded), hide, value) if isinstance(value, str) else value
                for key, value in one.items()
            }
            for one in messages
        ]
        pieces = re.split("\ue000(\\d+)\ue001", self.render(hidden))
        out: list[int] = []
        for i, piece in enumerate(pieces):
            if i % 2:
                out += self.encode(kept[int(piece)], mask, opening=False)
            elif piece:
                out += self.backend.encode(piece, add_special_tokens=False).ids
        return out

    def render(self, messages: Messages) -> str:
        """The chat as one text, ready for the answer; without a template the messages' contents, line by line."""
        if not messages or not all(isinstance(one.get("content"), str) and "role" in one for one in messages):
            raise BadInput(
                "a chat should be a list of messages with 'role' and 'content' texts, and at least one of them."
            )
        if self.template is None:
            return "\n".join(str(one["content"]) for one in messages)
        import jinja2
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            rendered, _ = render_jinja_template(
                conversations=[[dict(one) for one in messages]],
                chat_template=self.template,
                add_generation_prompt=True,
                **self.special,
            )
        except jinja2.TemplateError as error:
            raise BadInput(
                f"the checkpoint's chat template refused these messages ({error}); check their roles."
            ) from None
        return str(rendered[0])

    def decode(self, ids: Sequence[int], mask: int | None = None) -> str:
        """The text of ids without special tokens and masks."""
        return str(self.backend.decode([one for one in ids if one != mask and one >= 0], skip_special_tokens=True))

    def save(self, folder: Path) -> None:
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        if "tokenizer.json" in self.files or "tokenizer_config.json" in self.files:
            return
        self.backend.save(str(folder / "tokenizer.json"))
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **self.special}
        if self.template is not None:
            config["chat_template"] = self.template
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def of(cls, tokenizer: Any) -> Text:
        """From a Text, a `tokenizers.Tokenizer` or a Hugging Face tokenizer with such a backend."""
        if isinstance(tokenizer, Text):
            return tokenizer
        if isinstance(tokenizer, Tokenizer):
            return cls(tokenizer)
        backend = getattr(tokenizer, "backend_tokenizer", None) or getattr(tokenizer, "_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise BadInput(
                "a tokenizer should be a fast Hugging Face tokenizer or a tokenizers.Tokenizer, "
                f"found {type(tokenizer).__name__}; "
                "convert it with AutoTokenizer.from_pretrained(..., use_fast=True)."
            )
        roles = {role: getattr(tokenizer, role, None) for role in ROLES}
        template = getattr(tokenizer, "chat_template", None)
        return cls(
            backend,
            template if isinstance(template, str) else None,
            {k: str(v) for k, v in roles.items() if v is not None},
        )


def read_text(folder: Path) -> Text | None:
    """The tokenizer of a model folder; None where there is none that can be read without running its code."""
    files = {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}
    config = read_json(folder / "tokenizer_config.json", needed=False)
    if "tokenizer.json" in files:
        try:
            backend = Tokenizer.from_str(files["tokenizer.json"].decode("utf-8"))
        except Exception as error:  # the Rust side raises a bare Exception
            raise CheckpointError(f"{folder / 'tokenizer.json'} cannot be read ({error}); download it again.") from None
    elif {"vocab.json", "merges.txt"} <= files.keys():
        try:
            backend = _byte_level(files, config)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"the tokenizer in {folder} (vocab.json, merges.txt, tokenizer_config.json) cannot be read ({error}); "
                "download it again."
            ) from None
    elif {"tokenizer.model", "vocab.txt"} & files.keys():
        found = _through_transformers(folder)
        if found is None:
            return None
        backend = found
    else:
        return None
    roles = {**read_json(folder / "special_tokens_map.json", needed=False), **config}
    special = {role: _content(roles.get(role)) for role in ROLES}
    return Text(backend, _template(folder, files, config), {k: v for k, v in special.items() if v is not None}, files)


def _content(value: Any) -> str | None:
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None


def _template(folder: Path, files: Mapping[str, bytes], config: Mapping[str, Any]) -> str | None:
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"].decode("utf-8")
    given = config.get("chat_template")
    if given is None and "chat_template.json" in files:
        given = read_json(folder / "chat_template.json").get("chat_template")
    if isinstance(given, list):  # several named templates
        named = {one.get("name"): one.get("template") for one in given if isinstance(one, dict)}
        given = named.get("default")
    return given if isinstance(given, str) else None


def _byte_level(files: Mapping[str, bytes], config: Mapping[str, Any]) -> Tokenizer:
    """A byte-level BPE from vocab.json and merges.txt; Dream and Qwen split text by Qwen's rule, others by GPT-2's."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    vocab = json.loads(files["vocab.json"])
    lines = files["merges.txt"].decode("utf-8").splitlines()
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    backend = Tokenizer(BPE(vocab=vocab, merges=[(pair[0], pair[1]) for pair in pairs if len(pair) == 2]))
    backend.decoder = decoders.ByteLevel()
    if str(config.get("tokenizer_class", "")).startswith("GPT2"):
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

        split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
        backend.normalizer = normalizers.NFC()
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    listed = sorted((int(key), one) for key, one in (config.get("added_tokens_decoder") or {}).items())
    for _, one in listed:
        token = AddedToken(
            one["content"],
            single_word=one.get("single_word", False),
            lstrip=one.get("lstrip", False),
            rstrip=one.get("rstrip", False),
            normalized=one.get("normalized", False),
            special=one.get("special", False),
        )
        backend.add_tokens([token])
    wrong = [(key, one["content"]) for key, one in listed if backend.token_to_id(one["content"]) != key]
    if wrong:
        raise CheckpointError(
            f"tokenizer_config.json gives {wrong[0][1]!r} the id {wrong[0][0]}, and vocab.json leaves it "
            f"{backend.token_to_id(wrong[0][1])}; the tokenizer files belong to two models."
        )
    return backend


def _through_transformers(folder: Path) -> Tokenizer | None:
    """Older formats, converted by transformers' own classes; code in the checkpoint is never run."""
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception:  # whatever it cannot read leaves a model that still decodes ids
        return None
    backend = getattr(found, "backend_tokenizer", None)
    return backend if isinstance(backend, Tokenizer) else None
