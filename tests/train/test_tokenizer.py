"""The tokenizer in the box: any text survives, digits stand alone, special text in user text has ordinary pieces."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

import redraft
from redraft.train.tokenizer import build

ASSET = Path(redraft.__file__).parent / "assets" / "redraft-tiny"
TOKENIZER = Tokenizer.from_file(str(ASSET / "tokenizer.json"))
SPECIAL = ("<|pad|>", "<|eos|>", "<|mask|>")


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_round_trips(text: str) -> None:
    if not any(name in text for name in SPECIAL):
        assert TOKENIZER.decode(TOKENIZER.encode(text).ids) == text


def test_digits_cells_and_items_are_single_tokens() -> None:
    assert TOKENIZER.encode("31__42_1").tokens == list("31__42_1")
    for letter in "abcdefghijklmnopqrstuvwxyz":
        assert len(TOKENIZER.encode(f" {letter}").ids) == 1


def test_mask_text_can_be_written_with_ordinary_pieces() -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(ASSET)
    ids = tokenizer("<|mask|>", split_special_tokens=True)["input_ids"]
    assert tokenizer.mask_token_id not in ids and tokenizer.decode(ids) == "<|mask|>"


def test_the_files_are_ordinary_hugging_face_files() -> None:
    tokenizer = AutoTokenizer.from_pretrained(ASSET)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id) == (0, 1, 2)
    text = '12+34=46 {"name": "Lily"}\n'
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_fresh_one_keeps_all_bytes() -> None:
    fresh = build(["a small text about 12 cats"] * 3, 300)
    for text in ("ünï\u2603", "\x00\t\r\n", "日本"):
        assert fresh.decode(fresh.encode(text).ids) == text
