"""The offline executor: the one to read first. Packs asks without padding, keeps K/V, runs the head only where wanted, in tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.errors import Unsupported
from ..core.traits import Traits
from ..core.types import NEVER, Ask, Prediction
from ..models.backbone import Backbone
from ..ops.attention import attention, sight_mask
from ..ops.statistics import statistics
from .kv import KeyValues

TILE = 1 << 22  # most logits that exist at once


@dataclass(frozen=True)
class Group:
    """Neighbouring rows of an ask with equally many running tokens and neighbouring slots: one attention call.

    tokens start to stop of the packed list; slots first to first + rows; mask (rows, 1, Q, K) additive or None;
    columns where the tokens of all rows lie in the same ones, without a gap
    """

    start: int
    stop: int
    rows: int
    first: int
    mask: Tensor | None
    columns: slice | None


@dataclass(frozen=True)
class Packed:
    """One ask, ready to run: its tokens' rows and columns, its groups, and whether keys come from the store."""

    ask: Ask
    row: Tensor
    col: Tensor
    slot: Tensor
    store: KeyValues | None
    reads: bool
    width: int
    kept: Tensor | None  # packed tokens whose stored K/V must survive this forward (run but not written)
    written: Tensor | None
    groups: tuple[Group, ...]


class OfflineExecutor:
    """run(asks) -> predictions for one Backbone. One per set of requests: slots are theirs."""

    def __init__(self, backbone: Backbone, traits: Traits, tile: int = TILE, check: bool = True) -> None:
        self.backbone, self.traits, self.tile, self.check = backbone, traits, tile, check
        self.stores: dict[str, KeyValues] = {}
        self.computed = 0  # tokens run through the layers so far
        self.conditioned = bool(getattr(backbone, "conditioned", False))
        if self.conditioned and traits.mask is None:
            raise Unsupported(
                "decoding expects a model that needs no noise level or one with a mask token, whose share on the canvas "
                "is the level, found uniform noise and a level; train it with conditioned=False."
            )

    @torch.inference_mode()
    def run(self, asks: Sequence[Ask]) -> list[Prediction]:
        packed = [self.pack(ask) for ask in asks]
        hidden: dict[int, Tensor] = {}
        alive = [i for i, p in enumerate(packed) if len(p.row)]
        if alive:
            parts = [packed[i] for i in alive]
            tokens = torch.cat([p.ask.tokens[p.row, p.col] for p in parts])
            pos = torch.cat([p.ask.sight.pos[p.row, p.col] for p in parts])
            x = self.backbone.embed(tokens)
            if any(p.ask.soft is not None for p in parts):
                x = x + torch.cat([_soft(p, x) for p in parts])
            sizes = [len(p.row) for p in parts]
            self.computed += sum(sizes)
            extra = {"sigma": torch.cat([self.level(p) for p in parts])} if self.conditioned else {}
            out = self.backbone(x, pos, _Attend(parts, sizes), **extra)
            hidden = dict(zip(alive, out.split(sizes), strict=True))
            for p in parts:
                self.remember(p)
        return self.predict(packed, hidden)

    def level(self, p: Packed) -> Tensor:
        """(n,) the noise level -log alpha of each packed token: alpha is the share of its row's columns without a mask.

        That is what a canvas holds in expectation under MDLM's log-linear schedule, whose alpha ends at 0.001.
        """
        there = p.ask.run | p.ask.read
        masked = (p.ask.tokens == self.traits.mask) & there
        alpha = 1 - masked.sum(1) / there.sum(1).clamp_min(1)
        return -alpha.clamp_min(1e-3).log()[p.row]

    def pack(self, ask: Ask) -> Packed:
        run, read = ask.run, ask.read & ~ask.run
        row, col = run.nonzero(as_tuple=True)
        slot = ask.slot[row]
        reads = bool(read.any())
        writes = bool(ask.write.any())
        store = None
        if reads or writes:
            if ask.stream not in self.stores:
                c = self.backbone.config
                weight = self.backbone.head_weight
                self.stores[ask.stream] = KeyValues(
                    c.num_layers, c.num_kv_heads, c.head_dim, weight.dtype, weight.device
                )
            store = self.stores[ask.stream]
            store.fit(int(ask.slot.max()) + 1, run.shape[1])
            if self.check and bool((read & ~store.has[ask.slot, : run.shape[1]]).any()):
                raise RuntimeError("an ask reads K/V that was never stored; its cache part's plan is wrong")
        kept = written = None
        if store is not None:
            write = ask.write[row, col]
            if reads:
                risk = ~write & store.has[slot, col]
                kept = risk.nonzero().squeeze(-1) if bool(risk.any()) else None
            if not bool(write.all()):
                written = write.nonzero().squeeze(-1)
        groups, width = self.group(ask, run, read, reads)
        return Packed(ask, row, col, slot, store, reads, width, kept, written, groups)

    def group(self, ask: Ask, run: Tensor, read: Tensor, reads: bool) -> tuple[tuple[Group, ...], int]:
        counts, slots = run.sum(1).tolist(), ask.slot.tolist()
        width = 0
        if reads:
            used = (run | read).any(0).nonzero()
            width = int(used[-1]) + 1 if len(used) else 0
        groups: list[Group] = []
        start = i = 0
        while i < len(counts):
            j = i + 1
            while j < len(counts) and counts[j] == counts[i] and (not reads or slots[j] == slots[j - 1] + 1):
                j += 1
            if counts[i]:
                stop = start + counts[i] * (j - i)
                mask = self.mask(ask, run, read, reads, width, i, j, counts[i])
                at = int(run[i].to(torch.int8).argmax())
                columns = slice(at, at + counts[i])
                together = bool(run[i:j, columns].all())
                groups.append(Group(start, stop, j - i, slots[i], mask, columns if together else None))
                start = stop
            i = j
        return tuple(groups), width

    def mask(
        self, ask: Ask, run: Tensor, read: Tensor, reads: bool, width: int, i: int, j: int, count: int
    ) -> Tensor | None:
        """(rows, 1, Q, K) additive, or None where every query sees every key."""
        s = ask.sight
        running = run[i:j]
        there = (running | read[i:j])[:, :width] if reads else running
        highest = s.rank[i:j, : there.shape[1]].masked_fill(~there, -1).amax(1)
        lowest = s.reach[i:j].masked_fill(~running, NEVER).amin(1)
        if bool((highest <= lowest).all()) and (not reads or bool(there.all())):
            return None
        index = running.nonzero()[:, 1].view(j - i, count)

        def at_queries(t: Tensor) -> Tensor:
            return t[i:j].gather(1, index)

        reach, clique, turn = at_queries(s.reach), at_queries(s.clique), at_queries(s.turn)
        if reads:
            seen = sight_mask(s.rank[i:j, :width], reach, clique, s.clique[i:j, :width], turn, s.turn[i:j, :width])
            seen = seen & there[:, None]
        else:
            seen = sight_mask(at_queries(s.rank), reach, clique, clique, turn, turn)
        if bool(seen.all()):
            return None
        dtype = self.backbone.head_weight.dtype
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, float("-inf"))[:, None]

    def remember(self, p: Packed) -> None:
        if p.store is None:
            return
        ran = torch.zeros_like(p.ask.run)
        ran[p.row, p.col] = True
        has = p.store.has[p.ask.slot, : ran.shape[1]]
        if p.reads:  # what ran without being written scribbled on entries nobody may read
            survived = torch.zeros_like(ran)
            if p.kept is not None:
                survived[p.row[p.kept], p.col[p.kept]] = True
            has = has & (~ran | survived)
        p.store.has[p.ask.slot, : ran.shape[1]] = has | p.ask.write

    def predict(self, packed: list[Packed], hidden: dict[int, Tensor]) -> list[Prediction]:
        out: list[Prediction] = []
        mixes: dict[int, list[int]] = {}
        for i, p in enumerate(packed):
            mixes.setdefault(p.ask.mix if p.ask.mix >= 0 else -1 - i, []).append(i)
        made: dict[int, Prediction] = {}
        for members in mixes.values():
            made[members[0]] = self.head(packed, hidden, members)
        for i, p in enumerate(packed):
            out.append(made.get(i) or nothing(p.ask))
        return out

    def head(self, packed: list[Packed], hidden: dict[int, Tensor], members: list[int]) -> Prediction:
        ask = packed[members[0]].ask
        place = torch.full(ask.run.shape, -1, dtype=torch.int64, device=ask.run.device)
        p = packed[members[0]]
        place[p.row, p.col] = torch.arange(len(p.row), device=place.device)
        if self.traits.shift:
            place = torch.cat((place[:, :1], place[:, :-1]), 1)
        got = ask.want & (place >= 0)
        row, col = got.nonzero(as_tuple=True)
        if not len(row):
            return nothing(ask)
        source = place[row, col]
        x = hidden[members[0]][source]
        if len(members) > 1:
            x = sum(packed[i].ask.weight * hidden[i][source] for i in members)  # type: ignore[assignment]
        # filled tile by tile: small tensors kept from each tile would lie between the freed large ones, and the heap would grow
        made: dict[str, Tensor] = {}
        step = max(1, self.tile // self.backbone.head_weight.shape[0])
        held = (ask.tokens if ask.held is None else ask.held)[row, col] if "held" in ask.need else None
        banned = () if self.traits.mask is None else (self.traits.mask,)
        for a in range(0, len(row), step):
            cut = slice(a, a + step)
            history = None if ask.seen is None else (ask.tokens[row[cut]], ask.seen[row[cut]])
            values = statistics(
                self.backbone.head(x[cut]), ask.draw, ask.need, banned, self.traits.vocab,
                uniform=None if ask.uniform is None else ask.uniform[row[cut], col[cut]],
                held=None if held is None else held[cut], history=history, top=ask.top,
                temperature=None if ask.draw.rows is None else ask.draw.rows[row[cut]],
            )  # fmt: skip
            for name, value in values.items():
                if name not in made:
                    made[name] = value.new_zeros(*got.shape, *value.shape[1:])
                made[name][row[cut], col[cut]] = value
        return Prediction(got=got, **made)  # type: ignore[arg-type]


def nothing(ask: Ask) -> Prediction:
    """A prediction of nothing: right shapes, got False."""
    zero = torch.zeros(ask.run.shape, device=ask.run.device)
    names = {"prob", "margin", "entropy", "z1", "z2", "lse", "held"} & ask.need
    pairs: dict[str, Any] = dict.fromkeys(names, zero)
    if ask.need & {"top_ids", "top_logits"}:
        pairs |= {
            "top_ids": zero.long()[..., None].expand(*zero.shape, ask.top),
            "top_logits": zero[..., None].expand(*zero.shape, ask.top),
        }
    return Prediction(got=torch.zeros_like(ask.run), token=ask.tokens.clone(), **pairs)


def _soft(p: Packed, x: Tensor) -> Tensor:
    soft = p.ask.soft
    return x.new_zeros(len(p.row), x.shape[1]) if soft is None else soft[p.row, p.col].to(x.dtype)


class _Attend:
    """The backbone's `attend`: fresh keys where nothing is read, the store where something is."""

    def __init__(self, parts: Sequence[Packed], sizes: Sequence[int]) -> None:
        self.parts, self.sizes = parts, sizes

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if len(self.parts) == 1:
            return self.one(self.parts[0], layer, q, k, v)
        triples = zip(self.parts, q.split(self.sizes), k.split(self.sizes), v.split(self.sizes), strict=True)
        return torch.cat([self.one(p, layer, *qkv) for p, *qkv in triples])

    def one(self, p: Packed, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = []
        if p.reads and p.store is not None:
            keys, values = p.store.k[layer], p.store.v[layer]
            saved = (
                None if p.kept is None else (keys[p.slot[p.kept], p.col[p.kept]], values[p.slot[p.kept], p.col[p.kept]])
            )
            for g in p.groups:
                place(p, g, keys, k)
                place(p, g, values, v)
                kg, vg = (x[g.first : g.first + g.rows, : p.width] for x in (keys, values))
                out.append(_attention(q[g.start : g.stop], kg, vg, g.mask))
            if saved is not None:
                keys[p.slot[p.kept], p.col[p.kept]], values[p.slot[p.kept], p.col[p.kept]] = saved
        else:
            for g in p.groups:
                kg, vg = (x[g.start : g.stop].unflatten(0, (g.rows, -1)) for x in (k, v))
                out.append(_attention(q[g.start : g.stop], kg, vg, g.mask))
            if p.store is not None:
                at = slice(None) if p.written is None else p.written
                p.store.k[layer][p.slot[at], p.col[at]] = k[at]
                p.store.v[layer][p.slot[at], p.col[at]] = v[at]
        return out[0] if len(out) == 1 else torch.cat(out)


def place(p: Packed, g: Group, table: Tensor, new: Tensor) -> None:
    """A group's keys or values, of the packed new (N, heads, dim), into the store's table (slots, columns, heads, dim)."""
    part = slice(g.start, g.stop)
    if g.columns is None:
        table[p.slot[part], p.col[part]] = new[part]
    else:
        table[g.first : g.first + g.rows, g.columns] = new[part].unflatten(0, (g.rows, -1))


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """q (rows * Q, H, D) packed; k, v (rows, K, G, D) -> (rows * Q, H, D)."""
    rows = k.shape[0]
    q = q.unflatten(0, (rows, -1)).transpose(1, 2)
    return attention(q, k.transpose(1, 2), v.transpose(1, 2), mask).transpose(1, 2).flatten(0, 1)
