"""Records to documents: ids, and which of them are learned."""

from __future__ import annotations

from dataclasses import replace

from ...core.errors import BadInput
from ...models.text import Text
from .chat import spans
from .documents import Document, Special
from .order import keyed
from .records import Data, Dialogue, Pair, Passage, Record


class Encoder:
    """Turns records into documents; a text's special tokens are ordinary characters to it."""

    def __init__(self, text: Text, special: Special, data: Data, seed: int) -> None:
        self.text, self.special, self.data, self.seed = text, special, data, seed
        bare, full = text.encode("a", special.mask, opening=False), text.encode("a", special.mask)
        at = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), 0)
        self.before = full[:at]  # what the tokenizer puts before a text

    def document(self, record: Record, number: int) -> Document:
        """The record as document `number`; BadInput names its origin."""
        try:
            found = self._document(record, number)
        except BadInput as error:
            if record.origin in str(error):
                raise
            raise BadInput(f"{record.origin}: {error}") from None
        if not any(found.answer):
            raise BadInput(f"{record.origin} gives no token to learn; mend or drop the row.")
        return replace(found, answer=[True] * len(found)) if self.data.learn == "all" else found

    def _document(self, record: Record, number: int) -> Document:
        mask = self.special.mask
        if isinstance(record, Passage):
            before = self.before if record.first else []
            ids = self.text.encode(record.text, mask, opening=False)
            answer = [False] * len(before) + [True] * len(ids)
            return Document(number, before + ids, answer, ended=record.last, origin=record.origin)
        if isinstance(record, Pair):
            if self.text.template is None or self.data.raw:
                prompt = self.text.encode(record.prompt, mask)
                ids = self.text.encode(record.response, mask, opening=False)
                answer = [False] * len(prompt) + [True] * len(ids)
                return Document(number, prompt + ids, answer, origin=record.origin)
            turns = ({"role": "user", "content": record.prompt}, {"role": "assistant", "content": record.response})
            record = Dialogue(turns, record.origin)
        ids, answer, borders = spans(self.text, self._cut(record, number), mask, self.data.turns == "all")
        return Document(number, ids, answer, cuts=tuple(borders), origin=record.origin)

    def _cut(self, record: Dialogue, number: int) -> Dialogue:
        """The dialogue up to the assistant turn that data.turns asks for."""
        if self.data.turns != "one":
            return record
        turns = [i for i, m in enumerate(record.messages) if m["role"] == "assistant"]
        stop = turns[keyed("turn", self.seed, number) % len(turns)]
        return replace(record, messages=record.messages[: stop + 1])
