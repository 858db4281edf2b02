"""What every part promises, checked on the calls that real decodes make into it. Parts are found by file name."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from redraft import methods, parts
from redraft.core.errors import Unsupported
from redraft.core.join import join_states
from redraft.core.loop import Decoder, decode
from redraft.core.part import INNER, Part
from redraft.core.types import NEVER, Prediction, State

from .calls import EVERY, Call, leaves, predictions, recording, row, same, states, tree, variants
from .worlds import KINDS, VOCAB, Oracle, fits, native, prompts_for, put

EXTRA = ("margin", "entropy", "z1", "z2", "lse", "held", "top_ids", "top_logits", "logits")


def host(slot: str, part: Part, kind: str) -> Any:
    return put(methods.parse(native(kind)), slot, part)


def kinds_for(slot: str, part: Part) -> list[str]:
    """Kinds of model whose native method takes this part in place of its own. An encoder-decoder's executor wants the sight, the cache
    and the canvas that were made for it; without a block of its own, its schedule too."""
    out = []
    for kind, traits in KINDS.items():
        if kind == "uniform" and slot in INNER:
            continue  # its commit is of one piece
        if not fits(host(slot, part, kind), traits):
            continue
        if (
            kind == "uniform"
            and slot in ("sight", "cache", "canvas", "schedule", "guide")
            and type(part) is not type(getattr(methods.parse(native(kind)), slot))
        ):
            continue
        out.append(kind)
    return out


@cache
def calls_of(slot: str, name: str) -> tuple[Call, ...]:
    """Calls into a part in decodes of five unequal requests, on every kind of model that it fits."""
    cls = parts.find(slot, name)
    out: list[Call] = []
    for part in variants(cls):
        for kind in kinds_for(slot, part):
            traits = KINDS[kind]
            calls: list[Call] = []
            with recording(cls, calls):
                decoder = Decoder(host(slot, part, kind), traits)
                s, executor = decoder.start(prompts_for(kind)), Oracle(traits)
                for _ in range(4):
                    plan = decoder.ask(s)
                    s = decoder.absorb(s, plan, executor.run(plan.asks))
            assert all(c.part == part for c in calls if type(c.part) is cls) or any(
                isinstance(getattr(part, f.name), Part) for f in dataclasses.fields(part)
            )
            out += calls
    return tuple(out)


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_is_found_by_its_file_and_called(slot: str, name: str) -> None:
    cls = parts.find(slot, name)
    assert parts.name_of(cls()) == name and parts.slot_of(cls()) == slot
    assert calls_of(slot, name), "no kind of model has what this part needs"


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_row_alone_equals_row_in_batch(slot: str, name: str) -> None:
    """Bit for bit, and inputs are left alone (`recording` compares them)."""
    for call in calls_of(slot, name):
        for i in (0, 2, 4):
            alone = call.again(row(i, call.args))
            assert same(alone, row(i, call.result)), f"{call.part}.{call.function}: row {i} alone differs"


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_rows_in_another_order(slot: str, name: str) -> None:
    order = torch.tensor([3, 0, 4, 2, 1])
    for call in calls_of(slot, name)[::3]:
        moved = call.again(tree(lambda t: t[order] if t.dim() else t, call.args))
        assert same(moved, tree(lambda t: t[order] if t.dim() else t, call.result))


SYNCS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique", "_unique2")


class Count(TorchDispatchMode):
    """Counts operators; those that must wait for the device are an error."""

    def __init__(self) -> None:
        super().__init__()
        self.ops: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._overloadpacket.__name__
        assert name not in SYNCS, f"{name} waits for the device"
        if name.startswith("index") and len(args) > 1 and isinstance(args[1], list | tuple):
            assert not any(isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1]), (
                "indexing by a mask waits for the device"
            )
        self.ops.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_no_host_sync_and_no_loop_over_rows(slot: str, name: str) -> None:
    for call in calls_of(slot, name):
        with Count() as five:
            call.again(call.args)
        one_row = row(1, call.args)
        with Count() as one:
            call.again(one_row)
        assert five.ops == one.ops, (
            f"{call.part}.{call.function}: {len(five.ops)} operators for five rows, {len(one.ops)} for one"
        )


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_runs_without_values(slot: str, name: str) -> None:
    """On `meta` tensors there is nothing to look at: shapes and types alone decide what comes out."""
    for call in calls_of(slot, name)[::2]:
        out = leaves(call.again(tree(lambda t: t.to("meta"), call.args)))
        for found, expected in zip(out, leaves(call.result), strict=True):
            assert found.shape == expected.shape and found.dtype == expected.dtype


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_text_form_round_trips(slot: str, name: str) -> None:
    for part in variants(parts.find(slot, name)):
        kind = kinds_for(slot, part)[0]
        text = f"{methods.show(part)}"
        method = methods.parse(f"{native(kind).rstrip(')')}{', ' if '(' in native(kind) else '('}{slot}={text})")
        found = getattr(method.commit, slot) if slot in INNER else getattr(method, slot)
        assert found == part
        assert methods.parse(str(method)) == method
        assert methods.show(found) == text


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_needs_are_true(slot: str, name: str) -> None:
    """Refused before the first forward where the model lacks what is needed; elsewhere a decode comes to its end."""
    for part in list(variants(parts.find(slot, name)))[:3]:
        for kind, traits in KINDS.items():
            if kind == "uniform" and slot in INNER:
                continue
            method = host(slot, part, kind)
            if not fits(method, traits):
                with pytest.raises(Unsupported, match=r"expects a model with .*, found .*;"):
                    Decoder(method, traits).start(prompts_for(kind))
            elif kind in kinds_for(slot, part):
                decoder = Decoder(method, traits)
                final = decode(decoder, Oracle(traits), decoder.start(prompts_for(kind)))
                assert bool(final.done.all()) and bool((final.nfe <= final.budget).all())


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_reads_are_enough(slot: str, name: str) -> None:
    """With every field of the prediction that is not named in `reads` taken away, nothing changes."""
    for call in calls_of(slot, name):
        if not predictions(call.args):
            continue
        if slot == "guide":
            continue  # a guide hands predictions through whole
        allowed = {"got", "token", "prob"} | {f for p in _within(call.part) for f in p.reads}
        gone: dict[str, Any] = {f: None for f in EXTRA if f not in allowed}

        def less(x: Any, gone: dict[str, Any] = gone) -> Any:
            return (
                replace(x, **gone) if isinstance(x, Prediction) else tuple(map(less, x)) if isinstance(x, tuple) else x
            )

        assert same(call.again(less(call.args)), call.result)


def _within(part: Part) -> list[Part]:
    inner = [getattr(part, f.name) for f in dataclasses.fields(part)]
    return [part, *(p for x in inner if isinstance(x, Part) for p in _within(x))]


def test_fields_named_in_reads_are_fields() -> None:
    known = {f.name for f in dataclasses.fields(Prediction)}
    for slot, name in EVERY:
        assert set(parts.find(slot, name).reads) <= known


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_every_memory_leaf_is_declared(slot: str, name: str) -> None:
    """Leaves that wrap another part's (rule, lead...) are declared by that part."""
    for call in calls_of(slot, name):
        if call.function != "init":
            continue
        s: State = states(call.args)[0]
        rows, columns = s.tokens.shape
        declared: dict[str, str] = {}
        for part in _within(call.part):
            declared |= part.leaves
        assert {key.rpartition(".")[2] for key in call.result} == set(declared), f"{call.part}"
        for key, leaf in call.result.items():
            kind = declared[key.rpartition(".")[2]]
            assert leaf.shape[0] == rows
            assert kind in ("row", "column", "pointer")
            if kind == "column":
                assert leaf.shape[1] == columns
            else:
                assert leaf.dim() == 1 or leaf.shape[1] != columns


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_memory_keeps_its_form(slot: str, name: str) -> None:
    """Every step's memory has the names, shapes and types of the first, or a State could not be joined with another."""
    first: dict[Any, dict[str, Any]] = {}
    for call in calls_of(slot, name):
        memory = (
            call.result
            if call.function == "init"
            else next((x for x in _flat(call.result) if isinstance(x, dict)), None)
        )
        if memory is None:
            continue
        form = {k: (v.shape, v.dtype) for k, v in memory.items()}
        if call.function == "init":
            first[call.part] = form
        elif call.part in first and slot not in INNER:
            assert form == first[call.part] or not memory, f"{call.part}.{call.function}"


def _flat(x: Any) -> list[Any]:
    return list(x) if isinstance(x, tuple) else [x]


def _step(decoder: Decoder, s: State, executor: Oracle) -> State:
    plan = decoder.ask(s)
    return decoder.absorb(s, plan, executor.run(plan.asks))


@pytest.mark.parametrize(("slot", "name"), EVERY)
def test_requests_can_be_joined_and_parted_at_any_step(slot: str, name: str) -> None:
    """Two States of unequal widths at unequal steps, joined, step as they would have alone; then rows are reordered and parted again."""
    part = parts.find(slot, name)()
    for kind in kinds_for(slot, part)[:2] + kinds_for(slot, part)[-1:]:
        traits = KINDS[kind]
        decoder, executor = Decoder(host(slot, part, kind), traits), Oracle(traits)
        prompts = prompts_for(kind)
        left, right = decoder.start(prompts[:2]), decoder.start(prompts[2:])
        right = replace(right, slot=right.slot + 2)
        left = _step(decoder, left, executor)
        executor_too = replace(executor, has=dict(executor.has))
        joined = join_states([left, right])
        for _ in range(3):
            left, right = _step(decoder, left, executor), _step(decoder, right, executor)
            order = torch.tensor([4, 1, 3, 0, 2])
            joined = _step(decoder, joined.rows(order), executor_too).rows(order.argsort())
        for solo, rows in ((left, slice(0, 2)), (right, slice(2, 5))):
            width = solo.tokens.shape[1]
            for field in ("tokens", "known", "stored", "when", "conf"):
                assert torch.equal(getattr(joined, field)[rows, :width], getattr(solo, field)), f"{kind}: {field}"
            for field in ("nfe", "step", "done", "finish"):
                assert torch.equal(getattr(joined, field)[rows], getattr(solo, field)), f"{kind}: {field}"
            assert not bool(joined.valid[rows, width:].any())


def test_canvases_lay_a_request_alone_as_beside_others() -> None:
    for name in parts.names("canvas"):
        canvas: Any = parts.find("canvas", name)()
        for kind, traits in KINDS.items():
            if not fits(canvas, traits):
                continue
            prompts = prompts_for(kind)
            together = canvas.start(prompts, traits, torch.device("cpu"))
            for i, prompt in enumerate(prompts):
                alone = canvas.start([prompt], traits, torch.device("cpu"))
                width = alone.tokens.shape[1]
                for field in ("tokens", "fixed", "valid", "known"):
                    assert torch.equal(getattr(together, field)[i, :width], getattr(alone, field)[0]), (
                        f"{name}: {field}"
                    )
                for field in ("start", "end", "goal", "seed", "budget"):
                    assert int(getattr(together, field)[i]) == int(getattr(alone, field)[0]), f"{name}: {field}"
                assert not bool(together.valid[i, width:].any())
                # the prompt is there, and every place asked for
                assert alone.tokens[0, : len(prompt.ids)].tolist() == list(prompt.ids)
                assert int(alone.goal[0]) - int(alone.start[0]) == prompt.num_new or name == "uniform"
                assert bool((alone.tokens < VOCAB).all())


def test_no_part_opens_a_column_that_does_not_exist() -> None:
    for name in parts.names("schedule"):
        for call in calls_of("schedule", name):
            if call.function == "segments":
                s, seg = states(call.args)[0], call.result
                assert not bool((seg.open & ~s.valid).any())
                assert bool((seg.index < seg.must.shape[1]).all())
                assert bool((seg.age >= 0).all()) and bool((seg.age < NEVER).all())


def test_selections_are_candidates_and_progress() -> None:
    """Every selection is a subset of the candidates; all but `reveal`, whose clock is bounded, take at least one."""
    for name in parts.names("select"):
        for call in calls_of("select", name):
            if call.function != "select":
                continue
            cand, pick = call.args[4], call.result[0]
            assert not bool((pick & ~cand).any())
            if not any(type(p) is parts.find("select", "reveal") for p in _within(call.part)):
                assert torch.equal(pick.any(1), cand.any(1)), f"{call.part}"
