"""The values the loop passes around: State, Segments, Sight, Ask, Prediction, Transition, Edit.

B rows (requests), T columns (places on the canvas), S segments. All are frozen; only the loop makes new States.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from .noise import KeyedNoise, Noise
from .traits import Traits

Kind = Literal["row", "column", "pointer"]
Memory = Mapping[str, Mapping[str, Tensor]]

NEVER = 2**30  # a rank nobody reaches

FINISH = ("running", "length", "eos", "budget", "settled")
ADVICE = {
    "running": "the request has not ended",
    "length": "every place is filled: raise max_new_tokens for a longer answer",
    "eos": "the model ended its answer",
    "budget": "ran out of forwards: raise max_forwards or choose a method that commits more per forward",
    "settled": "the method judged the answer settled and filled the rest at once",
}
RUNNING, LENGTH, EOS, BUDGET, SETTLED = range(5)


@dataclass(frozen=True)
class State:
    """B requests on canvases of T columns: everything that changes, outside the parts. Only the loop writes it.

    tokens  (B, T) int64   what stands on the canvas (the mask id, or noise, where not known)
    fixed   (B, T) bool    prompt, suffix and pinned tokens: never changed
    valid   (B, T) bool    columns that exist for this row
    known   (B, T) bool    committed or fixed; never inferred from the mask id
    stored  (B, T) int32   at which forward this column's K/V was written, 0 = not stored
    conf    (B, T) float32 score at the last commit; logp (B, T) float32 log-probability of the token then
    when    (B, T) int32   forward of the last commit, 0 = never (or given)
    start, end (B,) int64  the answer's columns are start <= column < end; valid columns from end on are the suffix
    goal    (B,) int64     the places asked for end here; from goal to end a block is filled up
    slot    (B,) int64     whose K/V
    seed    (B,) int64     the request's own seed
    nfe, step, budget (B,) int64   forwards so far; steps (forwards that were not held); most forwards allowed
    done    (B,) bool      and finish (B,) int8: an index into FINISH
    memory  {part: {leaf: tensor}}: private leaves of parts, each declared row, column or pointer
    """

    tokens: Tensor
    fixed: Tensor
    valid: Tensor
    known: Tensor
    stored: Tensor
    conf: Tensor
    logp: Tensor
    when: Tensor
    start: Tensor
    end: Tensor
    goal: Tensor
    slot: Tensor
    seed: Tensor
    nfe: Tensor
    step: Tensor
    budget: Tensor
    done: Tensor
    finish: Tensor
    traits: Traits
    memory: Memory = field(default_factory=dict)
    noise: Noise = field(default_factory=KeyedNoise)

    @property
    def columns(self) -> Tensor:
        """(1, T) int64."""
        return torch.arange(self.tokens.shape[1], device=self.tokens.device)[None]

    @property
    def live(self) -> Tensor:
        """(B, 1) bool."""
        return ~self.done[:, None]

    @property
    def answer(self) -> Tensor:
        """(B, T) bool: valid columns of the answer."""
        return self.valid & (self.columns >= self.start[:, None]) & (self.columns < self.end[:, None])

    @property
    def unknown(self) -> Tensor:
        """(B, T) bool: valid columns that are neither fixed nor known."""
        return self.valid & ~self.known & ~self.fixed

    def rows(self, index: Tensor) -> State:
        """The same requests, chosen and ordered by index (N,) int64: split, drop, or fork rows."""
        changed: dict[str, Any] = {
            f.name: getattr(self, f.name)[index] for f in fields(self) if isinstance(getattr(self, f.name), Tensor)
        }
        memory = {part: {k: v[index] for k, v in leaves.items()} for part, leaves in self.memory.items()}
        return replace(self, memory=memory, **changed)

    def leaves(self, part: str) -> Mapping[str, Tensor]:
        return self.memory.get(part, {})


@dataclass(frozen=True)
class Segments:
    """Which columns may commit now. index (B, T) int64, -1 closed; must, age, size, steps (B, S).

    must: this segment has to progress in every step. age: steps since it opened. size: unknown columns when it opened.
    steps: planned forwards, 0 = the method's own.
    """

    index: Tensor
    must: Tensor
    age: Tensor
    size: Tensor
    steps: Tensor

    @property
    def open(self) -> Tensor:
        """(B, T) bool."""
        return self.index >= 0

    def at(self, value: Tensor) -> Tensor:
        """(B, S) -> (B, T): each column's value of its segment (columns that are closed read segment 0)."""
        return value.gather(1, self.index.clamp(min=0))


@dataclass(frozen=True)
class Sight:
    """Who sees whom, (B, T) int64 each: i sees j iff rank[j] <= reach[i] or (clique equal, >= 0, and turn[j] <= turn[i])."""

    pos: Tensor
    rank: Tensor
    reach: Tensor
    clique: Tensor
    turn: Tensor


@dataclass(frozen=True)
class Draw:
    """How a token and its confidence come from logits, applied inside the logit tiles.

    Filters (temperature, then top-p and top-k, with top_k_first top-k and top-p, then min-p) shape the draw; `confidence`
    says whether prob, margin and entropy are read from the filtered distribution or from the raw one. The ban on the mask id
    and on ids above the vocabulary is always applied to the arg max and the draw, never to the normaliser.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    confidence: Literal["raw", "filtered"] = "raw"
    precision: Literal["float32", "float64"] = "float32"
    suppress: tuple[int, ...] = ()  # logits become -inf before everything else
    distrust: tuple[int, ...] = ()  # may be drawn, but their probability counts as nothing
    top_k_first: bool = False
    rows: Tensor | None = field(
        default=None, compare=False
    )  # (B',) temperatures in place of `temperature`, all above 0

    @property
    def random(self) -> bool:
        return self.rows is not None or self.temperature > 0


@dataclass(frozen=True)
class Ask:
    """One forward, self-contained. Columns beyond the canvas are extra tokens, never stored.

    tokens, pos, rank, reach, clique, turn (B', T') int64; run, read, write, want (B', T') bool; slot (B',) int64
    held    (B', T') int64 whose probability is wanted, default the token
    uniform (B', T') float64 in [0, 1): the draw's noise, None for arg max
    seen    (B', T') bool columns whose tokens count for the repetition penalty
    soft    (B', T', D) an addition to the embeddings, or None
    weight  this ask's share where several are mixed into one prediction (guidance); `mix` numbers the mixture, -1 = alone
    need    the fields of Prediction somebody reads
    """

    tokens: Tensor
    run: Tensor
    read: Tensor
    write: Tensor
    want: Tensor
    sight: Sight
    slot: Tensor
    draw: Draw
    need: frozenset[str]
    stream: str = "main"
    model: str = "main"
    held: Tensor | None = None
    uniform: Tensor | None = None
    seen: Tensor | None = None
    soft: Any = None
    weight: float = 1.0
    mix: int = -1
    top: int = 2
    blind: Tensor | None = None
    col: Tensor | None = None
    reuse: Any = None


@dataclass(frozen=True)
class Prediction:
    """What came back, by canvas column, (B, T) each; a field nobody asked for is None.

    got      bool, which columns have a prediction
    token    int64, drawn or arg max
    prob     its probability; margin: best minus second probability; entropy in nats (all after the draw's filters, or raw)
    z1, z2   best and second raw logit that may be taken; lse: log-sum-exp of raw logits
    held     probability of the token now on the canvas
    top_ids, top_logits (B, T, k), likewise; logits (B, T, V), raw, only for who asks
    extra    what a model of another make adds (by name)
    """

    got: Tensor
    token: Tensor
    prob: Tensor | None = None
    margin: Tensor | None = None
    entropy: Tensor | None = None
    z1: Tensor | None = None
    z2: Tensor | None = None
    lse: Tensor | None = None
    held: Tensor | None = None
    top_ids: Tensor | None = None
    top_logits: Tensor | None = None
    logits: Tensor | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def read(self, name: str) -> Tensor:
        """A field that must be there: a part that reads it has declared so."""
        value: Tensor | None = getattr(self, name)
        if value is None:
            raise RuntimeError(f"a part reads Prediction.{name} without naming it in `reads`")
        return value


@dataclass(frozen=True)
class Transition:
    """What a step does: pick (B, T) bool takes token (B, T) int64; drop (B, T) bool becomes open again; busy (B,) bool keeps a full
    segment open; conf (B, T) float is what the trace keeps."""

    pick: Tensor
    token: Tensor
    drop: Tensor
    busy: Tensor
    conf: Tensor


@dataclass(frozen=True)
class Edit:
    """A change of the canvas: src (B, T) int64 (the column each column now comes from) or None; fill (B, T) bool with token (B, T)
    writes known tokens; valid (B, T) bool opens or closes columns, or None."""

    src: Tensor | None = None
    fill: Tensor | None = None
    token: Tensor | None = None
    valid: Tensor | None = None


@dataclass(frozen=True)
class Prompt:
    """One request as ids: text before the gap, text after it, pinned ids by offset into the gap, places to fill, the seed."""

    ids: tuple[int, ...]
    num_new: int
    suffix: tuple[int, ...] = ()
    pins: tuple[tuple[int, tuple[int, ...]], ...] = ()
    seed: int = 0
    blanks: frozenset[int] = frozenset()  # columns of `ids` that are open (kit cases speak ids); text never makes one
    pads: int = 0  # leading columns of `ids` that do not exist (kit cases with left padding)
    budget: int = 0  # most forwards, 0 = four per column plus some
