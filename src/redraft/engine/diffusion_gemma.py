"""The executor of encoder-decoder models (DiffusionGemma): text and canvas tokens of all rows in one packed pass.

Running columns with a clique are canvas: they go through the decoder, see each other and the text they can reach,
and nothing of theirs outlives the pass. The others are text: they go through the encoder, and their K/V is kept by
slot. Where `Ask.soft` (B',) bool is true, the canvas is conditioned on what that slot's previous pass predicted for
it; like K/V, this expected embedding stays here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import RedraftError
from ..core.types import Ask, Prediction
from ..ops.attention import sight_mask
from ..ops.statistics import filtered, penalised

TILE = 1 << 22  # most logits that exist at once
CHUNK = 256  # ids summed at once where a token is drawn: far fewer numbers to cumulate in float64

Choose = Callable[[Tensor, Tensor], Tensor]


def inverse(probs: Tensor, uniform: Tensor) -> Tensor:
    """(M,) ids where the cumulated probs (M, V) reach the uniform numbers (M,) in (0, 1)."""
    wide = F.pad(probs, (0, -probs.shape[1] % CHUNK)).unflatten(1, (-1, CHUNK))
    total = wide.sum(-1, dtype=torch.float64).cumsum(-1)
    goal = uniform[:, None] * total[:, -1:]
    chunk = torch.searchsorted(total, goal).clamp(max=total.shape[1] - 1)
    before = total.gather(1, chunk - 1 + (chunk == 0)).masked_fill(chunk == 0, 0.0)
    inner = wide[torch.arange(len(wide), device=wide.device), chunk[:, 0]].double().cumsum(-1)
    # rounding must not leave the ids that can be drawn
    rest = torch.minimum((goal - before).clamp(min=1e-300), inner[:, -1:])
    ids: Tensor = (chunk * CHUNK + torch.searchsorted(inner, rest))[:, 0]
    return ids


@dataclass(frozen=True)
class Look:
    """What some queries of a group see in layers of one kind: which columns, and a mask where not all see all."""

    queries: slice
    columns: Tensor | slice
    mask: Tensor | None


@dataclass(frozen=True)
class Group:
    """R rows of one layout. rows (R,) of the ask; slots (R,); columns (n,), text before canvas; looks by window."""

    rows: Tensor
    slots: Tensor | slice
    columns: Tensor
    canvas: int
    looks: dict[int | None, tuple[Look, ...]]

    @property
    def at(self) -> tuple[Tensor | slice, Tensor | slice]:
        """Where in a store (slots, columns, ...) the group's columns lie."""
        if isinstance(self.slots, slice):
            return self.slots, straight(self.columns)
        return self.slots[:, None], self.columns

    def of(self, value: Tensor) -> Tensor:
        """(B', T') -> (R * n,)."""
        return value[self.rows][:, self.columns].flatten()


@dataclass
class Store:
    """By slot: K/V (slots, columns, heads, size) of each layer, which columns hold text, expected embeddings."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    has: Tensor | None = None
    soft: Tensor | None = None


class DiffusionGemmaExecutor:
    """run(asks) -> predictions for one `DiffusionGemma`. One per set of requests: slots are theirs.

    tile    most logits that exist at once: no tensor of positions x vocabulary is larger
    choose  (probs (M, V), uniform (M,) in (0, 1)) -> ids (M,); the default inverts the distribution function
    passes, computed   packed passes, and tokens run through the layers, so far
    """

    def __init__(self, model: Any, tile: int = TILE, choose: Choose = inverse) -> None:
        self.model, self.tile, self.choose = model, tile, choose
        self.passes = self.computed = 0
        self.stores: dict[str, Store] = {}
        self.last: tuple[str, tuple[Tensor, ...], list[Group]] | None = None

    @torch.inference_mode()
    def run(self, asks: Sequence[Ask]) -> list[Prediction]:
        return [self.one(ask) for ask in asks]

    def one(self, ask: Ask) -> Prediction:
        """One packed pass over the rows that have something to run."""
        groups = self.layout(ask)
        if not groups:
            return nothing(ask)
        model, store = self.model, self.stores[ask.stream]
        tokens = torch.cat([g.of(ask.tokens) for g in groups])
        pos = torch.cat([g.of(ask.sight.pos) for g in groups])
        canvas: Tensor | bool = torch.cat([g.of(ask.sight.clique) for g in groups]) >= 0
        decoded = sum(g.canvas * len(g.rows) for g in groups)
        if decoded in (0, len(tokens)):
            canvas = decoded > 0
        soft = None if ask.soft is None or not decoded else self.recall(ask, groups, store)
        hidden = model(model.embed(tokens, canvas, soft), pos, self.attend(groups, store), canvas)
        self.passes += 1
        self.computed += len(tokens)
        if not decoded:
            return nothing(ask)
        return self.read(ask, groups, store, hidden[canvas] if isinstance(canvas, Tensor) else hidden)

    # who runs, and who sees whom

    def layout(self, ask: Ask) -> list[Group]:
        """Rows grouped by equal layouts; kept from pass to pass while only tokens change."""
        s = ask.sight
        masks = (ask.run, ask.read, ask.write, s.rank, s.reach, s.clique, s.turn, ask.slot)
        if self.last is not None and self.last[0] == ask.stream and all(map(torch.equal, self.last[1], masks)):
            return self.last[2]
        canvas = ask.run & (s.clique >= 0)
        if bool((ask.write & canvas).any()) or bool((ask.run & ~canvas & ~ask.write).any()):
            raise RedraftError(
                "an encoder-decoder model keeps the K/V of all its text and none of its canvas, found an ask that does "
                "otherwise; use the cache and the sight of the method diffusion_gemma."
            )
        self.fit(ask)
        slots = ask.slot.tolist()
        layouts = torch.stack([m.long() for m in masks[:-1]], 1).cpu().numpy()
        found: dict[bytes, list[int]] = {}
        for row in ask.run.any(1).nonzero()[:, 0].tolist():
            found.setdefault(layouts[row].tobytes(), []).append(row)
        groups = [self.group(ask, canvas, rows, [slots[row] for row in rows]) for rows in found.values()]
        self.last = ask.stream, masks, groups
        return groups

    def fit(self, ask: Ask) -> None:
        """Room for the ask's slots and columns; what is stored stays."""
        store = self.stores.setdefault(ask.stream, Store())
        slots, columns = int(ask.slot.max()) + 1, ask.tokens.shape[1]
        old = ask.run.new_zeros(slots, columns) if store.has is None else store.has
        old = grown(old, slots, columns)
        if bool((ask.read & ~ask.run & ~old[ask.slot, :columns]).any()):
            raise RuntimeError("an ask reads K/V that was never stored; its cache part's plan is wrong")
        old[ask.slot, :columns] |= ask.write
        store.has = old
        for kept in (store.keys, store.values):
            kept[:] = [grown(one, *old.shape) for one in kept]
        if store.soft is not None:
            store.soft = grown(store.soft, old.shape[0], 0)

    def group(self, ask: Ask, canvas: Tensor, rows: list[int], slots: list[int]) -> Group:
        s, device = ask.sight, ask.tokens.device
        run, read, open_, rank, reach, clique, turn = (
            x[rows[0]] for x in (ask.run, ask.read, canvas, s.rank, s.reach, s.clique, s.turn)
        )
        text = (run & ~open_).nonzero()[:, 0]
        q = torch.cat((text, open_.nonzero()[:, 0]))
        k = (run | read).nonzero()[:, 0]
        sees = sight_mask(rank[k], reach[q], clique[q], clique[k], turn[q], turn[k])
        fellow = (clique[q][:, None] == clique[k]) & (clique[q][:, None] >= 0)
        looks: dict[int | None, tuple[Look, ...]] = {}
        for window in set(self.model.windows):
            allowed = sees
            if window is not None:
                # the canvas' window ends at its first column, for all its columns alike
                before = reach[q] - window + (clique[q] >= 0)
                allowed = sees & ((rank[k] > before[:, None]) | fellow)
            halves = (slice(0, len(text)), slice(len(text), len(q)))
            looks[window] = tuple(look(half, k, allowed[half]) for half in halves if half.start < half.stop)
        where = straight(torch.tensor(slots, device=device))
        return Group(torch.tensor(rows, device=device), where, q, len(q) - len(text), looks)

    def attend(self, groups: Sequence[Group], store: Store) -> Callable[[int, Tensor, Tensor, Tensor], Tensor]:
        windows, scale = self.model.windows, self.model.scale
        assert store.has is not None
        room = store.has.shape

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if layer == len(store.keys):
                store.keys.append(k.new_zeros(*room, *k.shape[1:]))
                store.values.append(v.new_zeros(*room, *v.shape[1:]))
            keys, values, out, start = store.keys[layer], store.values[layer], [], 0
            for g in groups:
                rows, size = len(g.rows), len(g.columns)
                part = slice(start, start + rows * size)
                start = part.stop
                keys[g.at] = k[part].unflatten(0, (rows, size))
                values[g.at] = v[part].unflatten(0, (rows, size))
                query = q[part].unflatten(0, (rows, size)).transpose(1, 2)
                seen = [
                    F.scaled_dot_product_attention(
                        query[:, :, one.queries],
                        keys[g.slots][:, one.columns].transpose(1, 2),
                        values[g.slots][:, one.columns].transpose(1, 2),
                        attn_mask=one.mask,
                        scale=scale,
                        enable_gqa=q.shape[1] != k.shape[1],
                    )
                    for one in g.looks[windows[layer]]
                ]
                out.append((seen[0] if len(seen) == 1 else torch.cat(seen, 2)).transpose(1, 2).flatten(0, 1))
            return out[0] if len(out) == 1 else torch.cat(out)

        return attend

    # self-conditioning

    def recall(self, ask: Ask, groups: Sequence[Group], store: Store) -> Tensor:
        """(M, D): the expected embeddings of all canvas tokens, zeros in rows that feed nothing back."""
        if store.soft is None:
            assert store.has is not None
            table = self.model.head_weight
            store.soft = table.new_zeros(store.has.shape[0], self.model.block, table.shape[1])
        parts = []
        for g in groups:
            fed = ask.soft[g.rows][:, None, None]
            parts.append(torch.where(fed, store.soft[g.slots, : g.canvas], 0.0).flatten(0, 1))
        return torch.cat(parts)

    # what comes back

    def read(self, ask: Ask, groups: Sequence[Group], store: Store, hidden: Tensor) -> Prediction:
        """Statistics of the canvas, tile by tile; hidden (M, D) in the groups' order."""
        rows = torch.cat([g.rows.repeat_interleave(g.canvas) for g in groups])
        columns = torch.cat([g.columns[len(g.columns) - g.canvas :].repeat(len(g.rows)) for g in groups])
        step = max(1, self.tile // self.model.head_weight.shape[0])
        tiles = [
            self.statistics(ask, rows[a : a + step], columns[a : a + step], hidden[a : a + step])
            for a in range(0, len(rows), step)
        ]
        made = {name: torch.cat([tile[name] for tile in tiles]) for name in tiles[0]}
        if ask.soft is not None and store.soft is not None:
            parts = made.pop("soft").split([g.canvas * len(g.rows) for g in groups])
            for g, part in zip(groups, parts, strict=True):
                store.soft[g.slots, : g.canvas] = part.unflatten(0, (len(g.rows), g.canvas))
        out = nothing(ask)
        for name, value in made.items():
            out.read(name)[rows, columns] = value
        out.got[rows, columns] = ask.want[rows, columns]
        return out

    def statistics(self, ask: Ask, rows: Tensor, columns: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        """Fields of one tile (M, V), all after temperature and filters, except lse."""
        draw, out = ask.draw, {}
        z = self.model.head(hidden)
        if draw.suppress:
            z = z.index_fill(1, torch.tensor(draw.suppress, device=z.device), float("-inf"))
        if ask.seen is not None:
            z = penalised(z, ask.tokens[rows], ask.seen[rows], draw.repetition_penalty)
        if "lse" in ask.need:
            out["lse"] = z.logsumexp(-1)
        z = z / (draw.rows[rows].to(z.dtype)[:, None] if draw.rows is not None else draw.temperature or 1.0)
        z = filtered(z, draw.top_k, draw.top_p, draw.min_p, draw.top_k_first)
        probs = z.softmax(-1)
        if "entropy" in ask.need:
            out["entropy"] = torch.special.entr(probs).sum(-1)
        best = z.argmax(-1)
        out["token"] = best if ask.uniform is None else self.choose(probs, ask.uniform[rows, columns])
        out["prob"] = probs.gather(1, out["token"][:, None])[:, 0]
        if "held" in ask.need:
            held = ask.tokens if ask.held is None else ask.held
            out["held"] = probs.gather(1, held[rows, columns][:, None])[:, 0]
        if ask.soft is not None:
            out["soft"] = self.model.soften(probs)
        if {"top_ids", "top_logits"} & ask.need:
            ids = [best]
            while len(ids) < ask.top:  # not topk: of equal logits the first id comes first
                probs = probs.scatter(1, ids[-1][:, None], -1.0)
                ids.append(probs.argmax(-1))
            out["top_ids"] = torch.stack(ids, 1)
            out["top_logits"] = z.gather(1, out["top_ids"])
        return out


def straight(index: Tensor) -> Tensor | slice:
    """A slice where the numbers follow each other, so that indexing is a view."""
    if len(index) and bool((index.diff() == 1).all()):
        return slice(int(index[0]), int(index[0]) + len(index))
    return index


def look(queries: slice, keys: Tensor, allowed: Tensor) -> Look:
    """Only the columns that somebody sees; no mask where all see all of them."""
    used = allowed.any(0)
    allowed = allowed[:, used]
    return Look(queries, straight(keys[used]), None if bool(allowed.all()) else allowed)


def grown(old: Tensor, rows: int, columns: int) -> Tensor:
    """At least (rows, columns, ...); what was there stays."""
    rows, columns = max(rows, old.shape[0]), max(columns, old.shape[1])
    if (rows, columns) == tuple(old.shape[:2]):
        return old
    new = old.new_zeros(rows, columns, *old.shape[2:])
    new[: old.shape[0], : old.shape[1]] = old
    return new


def nothing(ask: Ask) -> Prediction:
    """A prediction of nothing, in the ask's shape; a field is there where somebody reads it."""
    shape, device = ask.run.shape, ask.run.device
    names = {"prob", "entropy", "lse", "held"} & ask.need
    fields: dict[str, Any] = {name: torch.zeros(shape, device=device) for name in names}
    if {"top_ids", "top_logits"} & ask.need:
        fields["top_ids"] = torch.zeros(*shape, ask.top, dtype=torch.int64, device=device)
        fields["top_logits"] = torch.zeros(*shape, ask.top, device=device)
    return Prediction(torch.zeros_like(ask.run), ask.tokens.clone(), **fields)
