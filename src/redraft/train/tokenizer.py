"""The small tokenizer of redraft-tiny: byte-level BPE with one token per digit, saved as ordinary Hugging Face
files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from ..core.errors import BadInput

PAD, EOS, MASK = "<|pad|>", "<|eos|>", "<|mask|>"
_PIECES = r"\n|_| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+"


def build(texts: Iterable[str], vocab_size: int = 768) -> Tokenizer:
    """Learn merges from `texts`; all 256 bytes are in the vocabulary, so any text encodes and decodes to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, EOS, MASK],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def special_id(tokenizer: Tokenizer, name: str) -> int:
    """The id of a special token that the tokenizer must have."""
    found: int | None = tokenizer.token_to_id(name)
    if found is None:
        raise BadInput(
            f"expected a tokenizer with the token {name!r}, found none; build it by redraft.train.tokenizer."
        )
    return found


def save(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """tokenizer.json, tokenizer_config.json and special_tokens_map.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": PAD, "eos_token": EOS, "mask_token": MASK}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        **special,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
