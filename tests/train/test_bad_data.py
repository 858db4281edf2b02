"""Bad data: one sentence that names file, row and field, before training where the file is indexed."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from redraft.core.errors import BadInput
from redraft.train.data import Data
from tests.train.test_data import jsonl, source

GOOD = b'{"text": "fine"}\n'
BAD: list[tuple[str, bytes, str]] = [
    ("a.jsonl", b"", r"a\.jsonl is empty"),
    ("a.jsonl", b"\n \n", r"a\.jsonl holds no row"),
    ("a.jsonl", GOOD + b"\n" + GOOD, r"a\.jsonl, line 2 is empty"),
    ("a.jsonl", GOOD + b'{"text": ', r"a\.jsonl, line 2 is not JSON"),
    ("a.jsonl", GOOD + b'{"text": ""}\n', r"a\.jsonl, line 2: field 'text' is empty"),
    ("a.jsonl", GOOD + b'{"text": " \\n"}\n', r"a\.jsonl, line 2: field 'text' is empty"),
    ("a.jsonl", GOOD + b'{"text": 7}\n', r"a\.jsonl, line 2: field 'text' should be a text, found int '7'"),
    ("a.jsonl", GOOD + b'{"text": null}\n', r"a\.jsonl, line 2: field 'text' should be a text, found nothing"),
    ("a.jsonl", GOOD + b'{"body": "x"}\n', r"a\.jsonl, line 2 has no field 'text', found 'body'"),
    ("a.jsonl", GOOD + b"[1]\n", r"a\.jsonl, line 2 should be an object with named fields, found list"),
    ("a.jsonl", GOOD + b'{"text": "\xff\xfe"}\n', r"a\.jsonl, line 2 is not valid UTF-8 \(byte 0xff at place 10"),
    ("a.jsonl", GOOD + b'{"text": "\\ud800"}\n', r"a\.jsonl, line 2: field 'text' holds half a surrogate pair"),
    ("a.jsonl", b'{"body": "x"}\n', r"line 1 has the fields 'body'; expected 'text'.*--read text=NAME"),
    ("a.jsonl", b'{"prompt": "x", "response": ""}\n', r"line 1: field 'response' is empty"),
    ("a.jsonl.gz", gzip.compress(GOOD * 5000)[:-20], r"a\.jsonl\.gz is not a whole \.gz file"),
    ("a.jsonl.gz", GOOD, r"a\.jsonl\.gz is not a whole \.gz file"),
    ("a.jsonl.xz", lzma.compress(GOOD * 5000)[:-20], r"a\.jsonl\.xz is not a whole \.xz file"),
    ("a.txt", b"", r"a\.txt is empty"),
    ("a.txt", b" \n\n", r"a\.txt holds nothing but blanks"),
    ("a.txt", b"one\n\ntwo\nth\xc3ree\n", r"a\.txt, line 4 is not valid UTF-8 \(byte 0xc3 at place 2"),
    ("a.csv", b"a,b\n", r"a\.csv cannot be told from its name"),
]


@pytest.mark.parametrize(("name", "raw", "message"), BAD, ids=lambda v: v if isinstance(v, str) else None)
def test_bad_files_are_named_before_training(tmp_path: Path, name: str, raw: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    with pytest.raises(BadInput, match=message) as found:
        source(path)
    assert "\n" not in str(found.value) and str(found.value).endswith(".")
    assert path.read_bytes() == raw


@pytest.mark.parametrize(("name", "raw", "message"), BAD, ids=lambda v: v if isinstance(v, str) else None)
def test_a_stream_says_the_same_when_it_comes_there(tmp_path: Path, name: str, raw: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    empty = not raw.strip()
    with pytest.raises(BadInput, match="no document" if empty else message):
        source(path, stream=True).read(0, 10000)


def test_bad_messages_name_the_field(tmp_path: Path) -> None:
    user, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    for messages, said in (
        ([user, {"content": "b"}], r"line 1: messages\[1\] should name its role"),
        ([user, "b"], r"line 1: messages\[1\] should be an object with role and content, found str 'b'"),
        (
            [user, {"role": "assistant", "content": 3}],
            r"line 1: messages\[1\]\.content should be a text, found int '3'",
        ),
        (
            [user, {"role": "assistant", "content": " "}],
            r"line 1: messages\[1\]\.content is empty in an assistant turn",
        ),
        ([user], r"line 1: 'messages' has no assistant turn"),
        ([], r"line 1: field 'messages' should be a list of messages, found an empty list"),
    ):
        with pytest.raises(BadInput, match=said):
            source(jsonl(tmp_path / "a.jsonl", [{"messages": messages}]))
    with pytest.raises(BadInput, match=r"line 2: field 'messages' should be a list of messages, found str 'x'"):
        source(jsonl(tmp_path / "a.jsonl", [{"messages": [user, answer]}, {"messages": "x"}]))
    with pytest.raises(BadInput, match="no data file"):
        source(tmp_path / "none.jsonl")
    with pytest.raises(BadInput, match="fields can be"):
        Data(("a",), fields=(("body", "x"),))
