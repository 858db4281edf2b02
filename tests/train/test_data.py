"""Files to numbered documents: formats, order, epochs, splits, streams, and what bad input says."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import redraft
from redraft.core.errors import BadInput, Unreachable
from redraft.models.text import Text
from redraft.recipes.recipe import Rows, Stage, Tasks
from redraft.train.data import Data, Document, Source, Special, TaskSource, open_source, reading, rows
from redraft.train.data import tasks as generated
from redraft.train.data.order import shuffled
from redraft.train.data.source import Shuffled, Stream, pieces

ASSET = Path(redraft.__file__).parent / "assets" / "redraft-tiny"
SHARED = Path(__file__).parents[3] / "shared" / "data"
TOKENIZER = Tokenizer.from_file(str(ASSET / "tokenizer.json"))
TEXT = Text(TOKENIZER)
SPECIAL = Special(*(TOKENIZER.token_to_id(f"<|{name}|>") for name in ("eos", "pad", "mask")))
LONG = Rows(512)
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not there")


def source(paths: Path | list[Path], seed: int = 0, settings: Rows = LONG, **more: Any) -> Source:
    listed = paths if isinstance(paths, list) else [paths]
    return open_source(Data(tuple(map(str, listed)), **more), TEXT, SPECIAL, settings, seed)


def said(document: Document) -> str:
    return TEXT.decode(document.tokens)


def jsonl(path: Path, values: list[Any]) -> Path:
    path.write_text("".join(json.dumps(v) + "\n" for v in values), encoding="utf-8")
    return path


def numbered(folder: Path, count: int = 20) -> Path:
    return jsonl(folder / "a.jsonl", [{"text": f"row {i}"} for i in range(count)])


# ---- order -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(0, 5), st.integers(0, 3))
def test_an_epochs_order_is_a_permutation(size: int, seed: int, epoch: int) -> None:
    assert sorted(shuffled(i, size, seed, epoch) for i in range(size)) == list(range(size))


def test_orders_differ_by_seed_and_epoch_and_mix_well() -> None:
    orders = [[shuffled(i, 1000, *key) for i in range(1000)] for key in ((0, 0), (0, 1), (1, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    for order in orders:
        assert abs(sum(i * p for i, p in enumerate(order)) / 1000 - 999**2 / 4) < 6 * 999**2 / 12 / 1000**0.5
        assert sum(b == a + 1 for a, b in pairwise(order)) < 10


def test_an_epoch_has_every_row_once_and_the_next_another_order(tmp_path: Path) -> None:
    found = source(numbered(tmp_path), 3).read(0, 40)
    texts = [said(d) for d in found]
    assert sorted(texts[:20]) == sorted(texts[20:]) == sorted(f"row {i}" for i in range(20))
    assert texts[:20] != texts[20:] and texts[:20] != [f"row {i}" for i in range(20)]
    assert [d.number for d in found] == list(range(40))
    plain = source(numbered(tmp_path), 3, shuffle=False).read(0, 21)
    assert [said(d) for d in plain] == [*(f"row {i}" for i in range(20)), "row 0"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_number_gives_the_same_document_at_any_time(tmp_path: Path, stream: bool) -> None:
    path = numbered(tmp_path)
    whole = source(path, stream=stream).read(0, 50)
    again = source(path, stream=stream)  # a resumed run: it begins in the middle
    assert again.read(33, 4) == whole[33:37]
    assert again.read(37, 13) == whole[37:]
    assert again.read(5, 2) == whole[5:7]  # and going back works too


# ---- formats -----------------------------------------------------------------------------------------------------

VERSES = "\n\nOne line\nand its second.\n\n\nÄn other.  \n \nThe last"


def write(path: Path, raw: bytes) -> Path:
    pack: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress}
    path.write_bytes(pack.get(path.suffix, bytes)(raw))
    return path


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_documents_of_a_text_file(tmp_path: Path, suffix: str, stream: bool) -> None:
    path = write(tmp_path / f"a.txt{suffix}", VERSES.encode())

    def texts(document: str) -> list[tuple[str, str]]:
        found = source(path, document=document, shuffle=False, stream=stream)
        count = {"paragraph": 3, "line": 4, "file": 1}[document]
        return [(said(d), d.origin.rpartition(" ")[2]) for d in found.read(0, count)]

    assert texts("paragraph") == [("One line\nand its second.", "3"), ("Än other.", "7"), ("The last", "9")]
    assert texts("line") == [("One line", "3"), ("and its second.", "4"), ("Än other.", "7"), ("The last", "9")]
    if stream:
        with pytest.raises(BadInput, match="whole text file"):
            texts("file")
    else:
        assert texts("file") == [(VERSES.strip(), "3")]


def test_several_files_and_formats_are_one_source(tmp_path: Path) -> None:
    one = numbered(tmp_path, 3)
    two = write(tmp_path / "b.txt.gz", b"p\n\nq")
    assert [said(d) for d in source([one, two], shuffle=False).read(0, 6)] == [
        "row 0",
        "row 1",
        "row 2",
        "p",
        "q",
        "row 0",
    ]
    assert {said(d) for d in source([one, two]).read(5, 5)} == {"row 0", "row 1", "row 2", "p", "q"}
    data = tmp_path / "data"
    data.write_text('{"text": "x"}\n')
    assert said(source(data, format="jsonl").read(0, 1)[0]) == "x"
    with pytest.raises(BadInput, match=r"data cannot be told from its name; give --read format"):
        source(data)


@pytest.mark.parametrize("stream", [False, True])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, stream: bool) -> None:
    for name, raw in (("a.txt", b"one\r\n\r\ntwo"), ("a.jsonl", b'{"text": "one"}\r\n{"text": "two"}\r\n')):
        path = write(tmp_path / name, b"\xef\xbb\xbf" + raw)
        assert [said(d) for d in source(path, stream=stream, shuffle=False).read(0, 3)] == ["one", "two", "one"]
    with pytest.raises(BadInput, match="is a folder"):
        source(tmp_path, stream=stream).read(0, 1)


def test_prompts_are_known_and_responses_learned(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"prompt": "2+3=", "response": "5"}])
    (one,) = source(path).read(0, 1)
    prompt, answer = TEXT.encode("2+3=", None), TEXT.encode("5", None)
    assert one.tokens == prompt + answer
    assert one.answer == [False] * len(prompt) + [True] * len(answer) and one.ended
    (every,) = source(path, learn="all").read(0, 1)
    assert every.answer == [True] * len(one)
    other = jsonl(tmp_path / "b.jsonl", [{"q": "2+3=", "a": "5", "text": "no"}])
    (named,) = source(other, fields=(("prompt", "q"), ("response", "a"))).read(0, 1)
    assert replace(named, origin="") == replace(one, origin="")


def test_special_tokens_in_the_data_are_characters(tmp_path: Path) -> None:
    evil = "a <|mask|> b <|eos|> <|pad|>"
    path = jsonl(tmp_path / "a.jsonl", [{"text": evil}])
    (one,) = source(path).read(0, 1)
    assert not {SPECIAL.eos, SPECIAL.pad, SPECIAL.mask} & set(one.tokens) and said(one) == evil


def test_what_the_tokenizer_puts_before_a_text_is_known(tmp_path: Path) -> None:
    from tokenizers import processors

    backend = Tokenizer.from_str(TOKENIZER.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single="<|pad|> $A <|eos|>", special_tokens=[("<|pad|>", SPECIAL.pad), ("<|eos|>", SPECIAL.eos)]
    )
    path = write(tmp_path / "a.txt", b"abc")
    (one,) = open_source(Data((str(path),)), Text(backend), SPECIAL, LONG, 0).read(0, 1)
    assert one.tokens == [SPECIAL.pad, *TEXT.encode("abc", None)]
    assert one.answer == [False] + [True] * (len(one) - 1)  # and the end is a matter of Rows.end


def test_parquet_equals_jsonl(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as writer

    values = [{"prompt": f"{i}+1=", "response": f"{i + 1}"} for i in range(700)]
    writer.write_table(pyarrow.Table.from_pylist(values), tmp_path / "a.parquet", row_group_size=300)
    lines = jsonl(tmp_path / "a.jsonl", values)
    for stream in (False, True):
        ours = source(tmp_path / "a.parquet", 4, stream=stream).read(690, 30)
        theirs = source(lines, 4, stream=stream).read(690, 30)
        assert [(d.number, d.tokens, d.answer) for d in ours] == [(d.number, d.tokens, d.answer) for d in theirs]
    assert {d.origin.partition(".parquet")[2] for d in ours} & {", row 700", ", row 1"}
    chats = [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}]
    writer.write_table(pyarrow.Table.from_pylist(chats), tmp_path / "c.parquet")
    assert said(source(tmp_path / "c.parquet").read(0, 1)[0]) == "hiho"
    (tmp_path / "d.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:900])
    with pytest.raises(BadInput, match=r"d\.parquet is not a whole parquet file"):
        source(tmp_path / "d.parquet")


def test_a_hub_id_offline_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    for stream in (False, True):
        with pytest.raises(
            Unreachable, match=r"the hub data set nobody/nothing could not be had .*local files\.$"
        ) as found:
            source(Path("nobody/nothing"), stream=stream).read(0, 1)
        assert "\n" not in str(found.value)


def test_a_hub_data_set_is_read_by_row_and_as_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[Any] = []

    def load_dataset(name: str, config: str | None, split: str, streaming: bool) -> Any:
        asked.append((name, config, split))
        found = datasets.Dataset.from_list([{"question": f"{i}?", "answer": f"{i}!"} for i in range(5)])
        return found.to_iterable_dataset() if streaming else found

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    indexed = source(Path("org/set:main@test"), shuffle=False).read(0, 6)
    streamed = source(Path("org/set:main@test"), stream=True).read(0, 6)
    assert asked[0] == ("org/set", "main", "test") and indexed == streamed
    assert [said(d) for d in indexed] == ["0?0!", "1?1!", "2?2!", "3?3!", "4?4!", "0?0!"]


# ---- long texts, splits, streams ---------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.text("ab äあ😀\n", max_size=120), st.integers(4, 40))
def test_pieces_are_whole_characters_and_lose_nothing(text: str, span: int) -> None:
    raw = text.encode()
    cuts = [0, *pieces(raw, 0, len(raw), span), len(raw)]
    parts = [raw[a:b] for a, b in pairwise(cuts)]
    assert b"".join(parts) == raw and all(len(p) <= span for p in parts)
    assert "".join(p.decode() for p in parts) == text


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_text_is_numbered_pieces_that_make_the_text(tmp_path: Path, stream: bool) -> None:
    text = "\n".join(f"line {i} of a long story, äöü" for i in range(300))
    path = write(tmp_path / "a.txt", text.encode())
    found = source(path, settings=Rows(64), shuffle=False, stream=stream)
    docs: list[Document] = []
    while not docs or not docs[-1].ended:
        docs += found.read(len(docs), 1)
    assert len(docs) > 20 and "".join(map(said, docs)) == text
    assert sum(len(d) <= 64 for d in docs) > 0.8 * len(docs)
    made = rows(docs, Rows(64), SPECIAL)
    assert [row[0].tokens[-1] == SPECIAL.eos for row in made] == [False] * (len(made) - 1) + [True]
    whole = source(path, settings=Rows(64, long="error"), shuffle=False).read(0, 1)
    with pytest.raises(BadInput, match=r"a\.txt, line 1 has \d+ tokens"):
        rows(whole, Rows(64, long="error"), SPECIAL)


@pytest.mark.parametrize("stream", [False, True])
def test_validation_is_a_share_of_its_own_by_hash(tmp_path: Path, stream: bool) -> None:
    values = [{"text": f"document {i}"} for i in range(400)]
    path, turned = jsonl(tmp_path / "a.jsonl", values), jsonl(tmp_path / "b.jsonl", values[::-1])
    parts = {}
    for part in ("train", "validation"):
        size = len(source(path, held_out=0.25, part=part))  # type: ignore[arg-type]
        one = source(path, held_out=0.25, part=part, stream=stream, shuffle=False).read(0, size)
        two = source(turned, held_out=0.25, part=part, stream=stream, shuffle=False).read(0, size)
        parts[part] = {said(d) for d in one}
        assert parts[part] == {said(d) for d in two}  # wherever a document stands
    assert not parts["train"] & parts["validation"] and len(parts["train"] | parts["validation"]) == 400
    assert 60 < len(parts["validation"]) < 140
    with pytest.raises(BadInput, match="no document in"):
        source(path, part="validation").read(0, 1)


def test_streaming_equals_loading_in_order(tmp_path: Path) -> None:
    one = jsonl(tmp_path / "a.jsonl", [{"prompt": f"{i}", "response": "x" * (i % 7 + 1)} for i in range(30)])
    two = write(tmp_path / "b.jsonl.gz", one.read_bytes())
    three = write(tmp_path / "c.txt.xz", VERSES.encode())
    for paths in ([one], [one, two], [three, two]):
        loaded = source(paths, shuffle=False, held_out=0.3)
        streamed = source(paths, stream=True, held_out=0.3)
        assert isinstance(loaded, Shuffled) and isinstance(streamed, Stream)
        assert loaded.read(0, 90) == streamed.read(0, 90)


def test_the_ways_to_read_data() -> None:
    read = ("prompt=q", "response=a", "turns=one", "held_out=0.1", "raw=true", "part=validation")
    wanted = Data(
        ("x",), fields=(("prompt", "q"), ("response", "a")), turns="one", held_out=0.1, raw=True, part="validation"
    )
    assert reading(("x",), read) == wanted
    for wrong, said in (
        ("turns", "NAME=VALUE"),
        ("turns=two", "turns is one of all, last, one"),
        ("raw=7", "true or false"),
        ("held_out=x", "number"),
        ("held_out=1.5", r"in \[0, 1\)"),
        ("turn=one", "did you mean turns"),
    ):
        with pytest.raises(BadInput, match=said):
            reading(("x",), (wrong,))


@pytest.mark.parametrize("stream", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, stream: bool) -> None:
    """Sixteen MiB of rows: an index of 24 bytes a row, or nothing at all."""
    path = tmp_path / "a.jsonl.gz"
    line = json.dumps({"text": "word " * 800}).encode() + b"\n"
    path.write_bytes(gzip.compress(line * 4096, 1))
    opened = source(path, stream=stream)
    tracemalloc.start()
    try:
        again = source(path, stream=stream)
        for first in range(0, 4096, 512):
            again.read(first, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20 < len(line) * 4096
    assert opened.read(17, 1)[0].tokens == again.read(17, 1)[0].tokens


# ---- generated data and real files ---------------------------------------------------------------------------------

FIRST_EDITION = {  # sha256 of 300 samples as the first edition's trainer drew them, recorded before the move
    False: "546cd68cc64a9f40a975aad10d908a95187fdcb407025e6abe37d64c11019f54",
    True: "fff600b78f9e090fbd011f7389c48f433e2f574a4cf1eaa64504a73b35ba50ea",
}


@pytest.mark.parametrize("stories", [False, pytest.param(True, marks=needs_shared)])
def test_generated_samples_are_those_of_the_first_edition(stories: bool) -> None:
    from redraft.recipes.redraft_tiny import STAGES

    texts = generated.read_stories(SHARED / "tinystories_sample" / "stories.jsonl.gz", 60) if stories else None
    drawn = generated.Source(TOKENIZER, 64, 5, texts)
    found = [drawn.sample(n, dict(STAGES[n % len(STAGES)].mix)) for n in range(300)]
    listed = json.dumps([[s.task, s.prompt, s.answer, s.suffix] for s in found])
    assert hashlib.sha256(listed.encode()).hexdigest() == FIRST_EDITION[stories]


def test_generated_documents_follow_the_stages() -> None:
    stages = (Stage(0, 4, (("addition", 1.0),)), Stage(3, 2, (("sort", 1.0),)))
    drawn = TaskSource(generated.Source(TOKENIZER, 64, 5), Tasks(stages))
    found = drawn.read(0, 16)
    assert [(k, len(list(g))) for k, g in groupby(found, lambda d: d.task)] == [("addition", 12), ("sort", 4)]
    assert drawn.read(7, 3) == found[7:10]
    sample = drawn.source.sample(13, {"sort": 1.0})
    assert found[13].tokens == sample.prompt + sample.answer + sample.suffix
    assert Counter(found[13].answer)[True] == len(sample.answer)
    ((row,),) = rows([found[13]], LONG, SPECIAL)
    assert row.tokens == found[13].tokens  # it brings its own ends


@needs_shared
def test_real_files() -> None:
    gsm = source(SHARED / "gsm8k" / "test.jsonl.gz")
    assert len(gsm) == 1319  # type: ignore[arg-type]
    (one,) = source(SHARED / "gsm8k" / "test.jsonl.gz", shuffle=False).read(0, 1)
    assert said(one).startswith("Janet") and "#### 18" in TEXT.decode([t for t, a in zip(one.tokens, one.answer) if a])
    stories = source(SHARED / "tinystories_sample" / "stories.jsonl.gz", settings=Rows(256, pack=True))
    made = rows(stories.read(0, 32), Rows(256, pack=True), SPECIAL)
    assert sum(map(len, (d for row in made for d in row))) > 0.8 * 256 * len(made)
    wiki = source(SHARED / "wikitext2_eval" / "wikitext-2.test.txt.gz", document="line", stream=True)
    assert said(wiki.read(0, 1)[0]).strip() == "= Robert <unk> ="
