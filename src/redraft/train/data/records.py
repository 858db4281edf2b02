"""One record of a data set, checked: a passage of text, a prompt with its response, or a dialogue.

Every complaint names the file, the row and the field.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...core.errors import BadInput, UnknownName
from .files import MARK, decoded

PAIRS = (
    ("prompt", "response"),
    ("prompt", "completion"),
    ("question", "answer"),
    ("instruction", "response"),
    ("input", "output"),
    ("query", "response"),
)
FIELDS = ("text", "prompt", "response", "messages", "tools")
CHOICES = {
    "format": ("auto", "text", "jsonl", "parquet", "hub"),
    "document": ("paragraph", "line", "file"),
    "learn": ("assistant", "all"),
    "turns": ("all", "last", "one"),
    "part": ("train", "validation", "all"),
}
CHATS = ("messages", "conversations", "conversation")
ROLES = {"human": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant", "function": "tool"}


@dataclass(frozen=True)
class Data:
    """Where training documents come from and what of them is learned.

    paths     files (.txt, .jsonl, .parquet; .gz or .xz behind), or one hub id "org/name", "org/name:config",
              "org/name@split"
    format    "auto" goes by the name, for a hub id "hub"
    document  what a document of a text file is: a paragraph (blank lines between), a line, or the whole file
    fields    own names of the fields, as (("text", "story"),) or (("prompt", "question"), ("response", "answer")) or
              (("messages", "chat"), ("tools", "functions")); found out from the first row where empty
    learn     "assistant": the responses; "all": everything
    turns     of a dialogue: "all" assistant turns in one document, the "last" one, or "one" drawn by the document's
              number (LLaDA's way, arXiv:2502.09992): with full attention, turns behind an answer tell its length
    raw       prompt and response are put together as they are, without the tokenizer's chat template
    part      "train", "validation" or "all": a document's own hash decides
    held_out  share of the documents that is validation
    stream    one pass after another through the file, with neither index nor shuffling, at constant memory
    shuffle   each epoch in an order of its own (not for streams)
    """

    paths: tuple[str, ...]
    format: Literal["auto", "text", "jsonl", "parquet", "hub"] = "auto"
    document: Literal["paragraph", "line", "file"] = "paragraph"
    fields: tuple[tuple[str, str], ...] = ()
    learn: Literal["assistant", "all"] = "assistant"
    turns: Literal["all", "last", "one"] = "all"
    raw: bool = False
    part: Literal["train", "validation", "all"] = "train"
    held_out: float = 0.0
    stream: bool = False
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not self.paths:
            raise BadInput("data needs at least one file or hub id, found none; give --data.")
        if not 0.0 <= self.held_out < 1.0:
            raise BadInput(f"held_out is a share of the documents, in [0, 1), found {self.held_out}.")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise BadInput(f"{name} is one of {', '.join(choices)}, found {getattr(self, name)!r}.")
        wrong = {name for name, _ in self.fields} - {*FIELDS}
        if wrong:
            raise BadInput(
                f"fields can be text, prompt, response, messages or tools, found {', '.join(sorted(wrong))}; "
                "write for example prompt=question."
            )


def reading(paths: tuple[str, ...], settings: Sequence[str] = ()) -> Data:
    """Data from "name=value" texts: a field of Data, or a role of `fields` such as "prompt=question"."""
    plain: dict[str, Any] = {}
    fields: list[tuple[str, str]] = []
    known = {f.name: f for f in dataclasses.fields(Data) if f.name not in ("paths", "fields")}
    for text in settings:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not value:
            raise BadInput(f"--read expects NAME=VALUE such as turns=one, found {text!r}.")
        if name in FIELDS:
            fields.append((name, value))
        elif name in known:
            plain[name] = _setting(name, value, known[name].default)
        else:
            raise UnknownName("way to read data", name, [*known, *FIELDS])
    return Data(paths, fields=tuple(fields), **plain)


def _setting(name: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise BadInput(f"--read {name} is true or false, found {value!r}.")
        return value.lower() == "true"
    if isinstance(default, float):
        try:
            return float(value)
        except ValueError:
            raise BadInput(f"--read {name} is a number, found {value!r}.") from None
    return value


@dataclass(frozen=True)
class Passage:
    """Text, all learned. first, last: it begins, ends a document."""

    text: str
    origin: str
    first: bool = True
    last: bool = True


@dataclass(frozen=True)
class Pair:
    prompt: str
    response: str
    origin: str


@dataclass(frozen=True)
class Dialogue:
    """messages: role and content, perhaps tool_calls and more; tools: descriptions for the template, or None."""

    messages: tuple[dict[str, Any], ...]
    origin: str
    tools: tuple[Any, ...] | None = None


Record = Passage | Pair | Dialogue
Names = Mapping[str, str]


def names_of(row: Any, data: Data, origin: str) -> Names:
    """Role to field, from the data's own names or else from a first row."""
    row = _object(row, origin)
    if data.fields:
        names = dict(data.fields)
        if not names.keys() & {"text", "messages"} and not {"prompt", "response"} <= names.keys():
            raise BadInput("fields should name text, or messages, or both prompt and response; add what is missing.")
        return names
    for name in CHATS:
        if isinstance(row.get(name), list):
            return {"messages": name, "tools": "tools"}
    for prompt, response in PAIRS:
        if prompt in row and response in row:
            return {"prompt": prompt, "response": response}
    if "text" in row:
        return {"text": "text"}
    raise BadInput(
        f"{origin} has the fields {', '.join(map(repr, row)) or 'none'}; expected 'text', 'messages', or a pair such as "
        "'prompt' and 'response', so name yours with --read text=NAME or --read prompt=NAME --read response=NAME."
    )


def record_of(row: Any, names: Names, origin: str) -> Record:
    """A row as a checked record."""
    row = _object(row, origin)
    if "messages" in names:
        return dialogue_of(row, names, origin)
    if "text" in names:
        return Passage(_text(row, names["text"], origin), origin)
    prompt = _text(row, names["prompt"], origin, empty=True)
    return Pair(prompt, _text(row, names["response"], origin), origin)


def dialogue_of(row: Mapping[str, Any], names: Names, origin: str) -> Dialogue:
    field = names["messages"]
    messages = _field(row, field, origin)
    if not isinstance(messages, list) or not messages:
        raise BadInput(
            f"{origin}: field {field!r} should be a list of messages, found {_kind(messages)}; mend the row."
        )
    out = tuple(message_of(m, f"{origin}: {field}[{i}]") for i, m in enumerate(messages))
    if not any(m["role"] == "assistant" for m in out):
        raise BadInput(f"{origin}: {field!r} has no assistant turn, so nothing could be learned; mend or drop the row.")
    tools = row.get(names.get("tools", "tools"))
    if isinstance(tools, str):
        tools = parsed(tools.encode(), f"{origin}: field 'tools'")
    if tools is not None and not isinstance(tools, list):
        raise BadInput(f"{origin}: field 'tools' should be a list of descriptions, found {_kind(tools)}; mend the row.")
    return Dialogue(out, origin, tuple(tools) if tools else None)


def message_of(message: Any, origin: str) -> dict[str, Any]:
    """A message with role and content; ShareGPT's from and value are read too, and OpenAI's text parts are joined."""
    if not isinstance(message, dict):
        raise BadInput(f"{origin} should be an object with role and content, found {_kind(message)}; mend the row.")
    out = {key: value for key, value in message.items() if value is not None}
    for ours, theirs in (("role", "from"), ("content", "value")):
        if ours not in out and theirs in out:
            out[ours] = out.pop(theirs)
    role, content = out.get("role"), out.get("content")
    if not isinstance(role, str) or not role:
        raise BadInput(f"{origin} should name its role, found {_kind(role)} in 'role'; mend the row.")
    out["role"] = ROLES.get(role, role)
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        content = "".join(p["text"] for p in content)
    if content is None and out.get("tool_calls"):
        content = ""
    if not isinstance(content, str):
        raise BadInput(f"{origin}.content should be a text, found {_kind(content)}; mend the row.")
    _sound(content, f"{origin}.content")
    if out["role"] == "assistant" and not content.strip() and not out.get("tool_calls"):
        raise BadInput(f"{origin}.content is empty in an assistant turn; there is nothing to learn, so drop the row.")
    return out | {"content": content}


def parsed(raw: bytes, origin: str) -> Any:
    """A JSON value; BadInput where the text is none."""
    text = decoded(raw.removeprefix(MARK), origin)
    if not text.strip():
        raise BadInput(f"{origin} is empty; every line should hold one JSON object, so remove it.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{origin} is not JSON ({error}); every line should hold one JSON object.") from None


def digest(record: Record) -> bytes:
    """A hash of what a record says, wherever it stands."""
    text = json.dumps(vars(replace(record, origin="")), sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def wanted(hashed: bytes, data: Data) -> bool:
    """Whether a document of this hash belongs to data.part."""
    held = int.from_bytes(hashed, "big") < data.held_out * 2.0**64
    return data.part == "all" or held is (data.part == "validation")


def _object(row: Any, origin: str) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise BadInput(f"{origin} should be an object with named fields, found {_kind(row)}; mend the row.")
    return row


def _field(row: Mapping[str, Any], name: str, origin: str) -> Any:
    if name not in row:
        raise BadInput(f"{origin} has no field {name!r}, found {', '.join(map(repr, row)) or 'none'}; mend the row.")
    return row[name]


def _text(row: Mapping[str, Any], name: str, origin: str, empty: bool = False) -> str:
    value = _field(row, name, origin)
    if not isinstance(value, str):
        raise BadInput(f"{origin}: field {name!r} should be a text, found {_kind(value)}; mend the row.")
    _sound(value, f"{origin}: field {name!r}")
    if not empty and not value.strip():
        raise BadInput(f"{origin}: field {name!r} is empty, so there is nothing to learn; mend or drop the row.")
    return value


def _sound(text: str, origin: str) -> None:
    """BadInput for half a surrogate pair, which JSON can write and no encoding has."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(f"{origin} holds half a surrogate pair at place {error.start}; mend the row.") from None


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (list, dict, str)) and not value:
        return f"an empty {type(value).__name__}"
    return f"{type(value).__name__} {str(value)[:40]!r}"
