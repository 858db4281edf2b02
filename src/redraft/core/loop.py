"""The one loop: ask -> forward -> absorb. The only writer of State."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from .errors import RedraftError
from .join import join_states
from .method import Method
from .part import SLOTS
from .traits import Traits
from .types import BUDGET, SETTLED, Ask, Edit, Prediction, Prompt, Segments, State

IDLE = 1000  # most steps in a row without a forward


class Executor(Protocol):
    """Runs asks; never sees State."""

    def run(self, asks: Sequence[Ask]) -> list[Prediction]: ...


@dataclass(frozen=True)
class Plan:
    """What one step asked: the asks (one per stream), the segments they were made for, and which rows run."""

    asks: tuple[Ask, ...]
    seg: Segments
    run: Tensor
    write: Tensor


@dataclass(frozen=True)
class Step:
    """What one forward led to, for viewers and trajectories. before and after have the same rows; rows are prompt numbers."""

    rows: tuple[int, ...]
    before: State
    after: State
    plan: Plan

    @property
    def changed(self) -> Tensor:
        """(B, T) bool: columns whose token or whose knownness changed."""
        return (self.before.tokens != self.after.tokens) | (self.before.known != self.after.known)

    @property
    def tokens(self) -> Tensor:
        return self.after.tokens

    @property
    def known(self) -> Tensor:
        return self.after.known

    @property
    def prompt_length(self) -> Tensor:
        """(B,) int64."""
        return self.after.start

    @property
    def forward(self) -> int:
        return int(self.after.nfe.max())


@dataclass(frozen=True)
class Decoder:
    """A method on a kind of model, stepped by hand: start, ask, absorb."""

    method: Method
    traits: Traits

    def start(self, prompts: Sequence[Prompt], device: torch.device | str = "cpu") -> State:
        """Lays the canvas and opens the first segment, so that the State is ready to ask."""
        self.method.check(self.traits)
        s = self.method.canvas.start(prompts, self.traits, torch.device(device))
        memory: dict[str, dict[str, Tensor]] = {}
        for slot in SLOTS:
            leaves = getattr(self.method, slot).init(s)
            if leaves:
                memory[slot] = dict(leaves)
                s = replace(s, memory=dict(memory))
        codes = self.method.stop.done(s, s.done, s.done, s.leaves("stop"))
        return replace(s, done=codes > 0, finish=codes)

    def ask(self, s: State) -> Plan:
        """One step's forwards. Pure: it changes nothing."""
        m = self.method
        seg = m.schedule.segments(s, s.leaves("schedule"))
        open_ = seg.open & s.live
        want = open_ & s.unknown
        for slot in SLOTS:
            more = getattr(m, slot).wants(s, seg)
            want = want if more is None else want | (more & s.live)
        sight = m.sight.sight(s)
        run, read, write, want = m.cache.plan(s, seg, want, sight, s.leaves("cache"))
        exists = s.valid & s.live
        stored = s.stored > 0
        run = (run | (read & ~stored)) & exists
        if self.traits.shift:  # the prediction for column i is output row i - 1, which must run
            source = torch.cat((want[:, 1:], torch.zeros_like(want[:, :1])), 1)
            source[:, 0] |= want[:, 0]
            run = run | (source & exists)
        read = read & exists & ~run
        write = write & run
        draw = m.draw.draw(s, seg, s.leaves("draw"))
        ask = Ask(
            tokens=s.tokens, run=run, read=read, write=write, want=want & exists, sight=sight, slot=s.slot, draw=draw,
            need=m.reads | {"prob"},
            uniform=s.noise.uniform(s.seed, s.step, s.columns, 0) if draw.random else None,
            seen=(s.known & s.valid) if draw.repetition_penalty != 1.0 else None,
        )  # fmt: skip
        return Plan(m.guide.asks(s, ask, s.leaves("guide")), seg, run, write)

    def absorb(self, s: State, plan: Plan, preds: Sequence[Prediction]) -> State:
        """Account for the forward, merge the guide's predictions, take the step."""
        ran = plan.run.any(1)
        nfe = s.nfe + ran
        stored = torch.where(plan.write, nfe[:, None], s.stored)
        s = replace(s, nfe=nfe, stored=stored)
        pred, hold, leaves = self.method.guide.merge(s, plan.asks, tuple(preds), s.leaves("guide"))
        return self.step(keep(s, "guide", leaves), plan.seg, pred, torch.zeros_like(s.done) if hold is None else hold)

    def step(self, s: State, seg: Segments, pred: Prediction, hold: Tensor) -> State:
        """The pure half of absorb: what a prediction does to a canvas. hold (B,) bool."""
        m = self.method
        live = ~s.done
        more = m.canvas.hold(s, pred, s.leaves("canvas"))
        hold = hold if more is None else hold | more
        hold = (hold | ~(seg.open & pred.got).any(1)) | s.done
        seg, leaves = m.schedule.narrow(s, seg, pred, s.leaves("schedule"), hold)
        s = keep(s, "schedule", leaves)
        cand = seg.open & s.unknown & pred.got & ~hold[:, None]
        t, leaves = m.commit.step(s, seg, pred, cand, s.leaves("commit"))
        s = keep(s, "commit", leaves)
        settled = torch.zeros_like(hold)
        pick = t.pick
        if m.stop.settles:
            settled, leaves = m.stop.settle(s, pred, hold, s.leaves("stop"))
            s = keep(s, "stop", leaves)
            pick = torch.where(settled[:, None], s.unknown & pred.got, pick)
        going = (~hold)[:, None] & ~s.fixed
        pick, drop = pick & going, t.drop & going & ~settled[:, None]
        edited = pick & s.known
        tokens = torch.where(pick, torch.where(settled[:, None], pred.token, t.token), s.tokens)
        if self.traits.mask is not None:
            tokens = tokens.masked_fill(drop, self.traits.mask)
        logp = torch.where(pick, pred.read("prob").clamp(min=1e-38).log().to(s.logp.dtype), s.logp)
        s = replace(
            s,
            tokens=tokens,
            known=(s.known | pick) & ~drop,
            conf=torch.where(pick, t.conf.to(s.conf.dtype), s.conf),
            logp=logp,
            when=torch.where(pick | drop, s.nfe[:, None], s.when),
            stored=s.stored.masked_fill(edited | drop, 0),
        )
        edit, leaves = m.canvas.edit(s, seg, pred, pick, hold, s.leaves("canvas"))
        s = keep(s, "canvas", leaves)
        s = s if edit is None else apply(s, edit)
        leaves, moved = m.schedule.advance(s, s.leaves("schedule"), hold, t.busy)
        s = keep(s, "schedule", leaves)
        s = keep(s, "cache", m.cache.advance(s, s.leaves("cache"), hold))
        s = replace(s, step=s.step + ~hold)
        code = m.stop.done(s, moved, t.busy, s.leaves("stop"))
        code = torch.where((code == 0) & (s.nfe >= s.budget), BUDGET, code)
        code = torch.where(settled, SETTLED, code)
        code = torch.where(live, code, s.finish).to(s.finish.dtype)
        return replace(s, done=code > 0, finish=code)


def keep(s: State, part: str, leaves: object) -> State:
    """The state with one part's memory replaced; finished rows keep theirs by never being read again."""
    if leaves is s.memory.get(part) or (not leaves and part not in s.memory):
        return s
    return replace(s, memory={**s.memory, part: leaves})  # type: ignore[dict-item]


def apply(s: State, edit: Edit) -> State:
    """A canvas edit: close or open columns, fill known tokens. Reopened columns are not known and not stored."""
    if edit.src is not None:
        raise RedraftError("expected a canvas that keeps its columns, found one that moves them; no part here does.")
    if edit.valid is not None:
        reopened = edit.valid & ~s.valid
        mask = s.traits.mask if s.traits.mask is not None else 0
        s = replace(
            s, valid=edit.valid, known=s.known & ~reopened, stored=s.stored.masked_fill(reopened, 0),
            tokens=s.tokens.masked_fill(reopened, mask),
        )  # fmt: skip
    if edit.fill is not None and edit.token is not None:
        fill = edit.fill & ~s.fixed
        s = replace(
            s, tokens=torch.where(fill, edit.token, s.tokens), known=s.known | fill,
            stored=s.stored.masked_fill(fill, 0), when=torch.where(fill, s.nfe[:, None], s.when),
        )  # fmt: skip
    return s


def decode(decoder: Decoder, executor: Executor, state: State, on_step: Callable[[Step], None] | None = None) -> State:
    """Runs every request to its end and returns the final State, rows in the order given. Finished rows leave at once."""
    final: dict[int, State] = {}
    rows = list(range(state.done.shape[0]))
    idle = 0
    s = state
    while True:
        ended = s.done.tolist()
        if any(ended):
            for i, gone in enumerate(ended):
                if gone:
                    final[rows[i]] = s.rows(torch.tensor([i], device=s.done.device))
            stay = [i for i, gone in enumerate(ended) if not gone]
            rows = [rows[i] for i in stay]
            s = s.rows(torch.tensor(stay, dtype=torch.int64, device=s.done.device))
        if not rows:
            return join_states([final[i] for i in range(len(final))])
        plan = decoder.ask(s)
        after = decoder.absorb(s, plan, executor.run(plan.asks))
        idle = 0 if bool(plan.run.any()) else idle + 1
        if idle > IDLE:
            raise RedraftError(
                f"expected {decoder.method} to ask for a forward or to end, found neither in {IDLE} steps; one of its parts is wrong."
            )
        if on_step is not None:
            on_step(Step(tuple(rows), s, after, plan))
        s = after
