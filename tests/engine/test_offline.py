"""The offline executor: nothing as large as positions x vocabulary, no padding, K/V that survives what only runs, bf16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from redraft import methods
from redraft.core.loop import Decoder, Step, decode
from redraft.core.types import Ask, Draw, Prompt, Sight, State
from redraft.engine import OfflineExecutor
from redraft.models import Model
from tests.contracts.worlds import KINDS, PROMPTS, tiny

WIDE = 150_000


class Largest(TorchDispatchMode):
    """The largest tensor that an operator makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numel, self.op = 0, ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else (out,):
            if isinstance(one, Tensor) and one.untyped_storage().nbytes() // one.element_size() > self.numel:
                self.numel, self.op = one.untyped_storage().nbytes() // one.element_size(), str(func)
        return out


def large(kind: str) -> Model:
    model = tiny(kind, vocab=WIDE)
    return replace(model, traits=replace(model.traits, vocab=WIDE))


@pytest.mark.parametrize(
    "text",
    [
        "fast_dllm(block=16, threshold=0.0)",
        "llada(block=16, cfg=0.5, select=quota(steps=1))",
        "llada(block=16, select=quota(steps=1), draw=sample(temperature=1.0))",
    ],
)
def test_no_tensor_of_positions_by_vocabulary(text: str) -> None:
    """150k ids, 4 x 16 wanted positions: 9.6 million logits, of which a tile of a twentieth exists at a time (as do its float64 copies)."""
    model = large("full")
    tile = 3 * WIDE
    executor = OfflineExecutor(model.backbone, model.traits, tile=tile)  # type: ignore[arg-type]
    weights = {p.numel() for p in model.backbone.parameters()}
    decoder = Decoder(methods.parse(text), model.traits)
    s = decoder.start([Prompt((1, 2, 3), 32, seed=i) for i in range(4)])
    with Largest() as seen:
        plan = decoder.ask(s)
        s = decoder.absorb(s, plan, executor.run(plan.asks))
    wanted = int(plan.asks[0].want.sum())
    assert wanted == 64 and int(s.known.sum()) > 12
    assert seen.numel <= max(tile, max(weights)), f"{seen.op} made {seen.numel} numbers"
    assert wanted * WIDE > 3 * max(tile, max(weights))  # so the bound says something


def test_the_tile_s_size_changes_nothing() -> None:
    model = tiny("full", 1)
    found = []
    for tile in (1, 27 * 5, 1 << 22):
        decoder = Decoder(methods.parse("llada(block=4, stop=full(whole=true))"), model.traits)
        found.append(decode(decoder, OfflineExecutor(model.backbone, model.traits, tile=tile), decoder.start(PROMPTS)))  # type: ignore[arg-type]
    for other in found[1:]:
        assert torch.equal(found[0].tokens, other.tokens) and torch.allclose(found[0].logp, other.logp, atol=1e-5)


class Watched:
    """A backbone that counts the rows given to its layers and to its head."""

    def __init__(self, model: Model) -> None:
        self.model, self.layers, self.heads = model.backbone, [], []  # type: ignore[var-annotated]

    def __call__(self, x: Tensor, *args: Any) -> Tensor:
        self.layers.append(len(x))
        return self.model(x, *args)

    def head(self, x: Tensor) -> Tensor:
        self.heads.append(len(x))
        return self.model.head(x)  # type: ignore[operator]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


@pytest.mark.parametrize("kind", ["full", "full_shifted", "block", "block_shifted", "causal"])
@pytest.mark.parametrize(
    "text",
    [
        "llada(block=4)",
        "fast_dllm(block=4)",
        "fast_dllm(block=4, cache=prefix())",
        "sdar",
        "fast_dllm_v2(sub_block=2, block_cache=true)",
        "autoregressive",
    ],
)
def test_only_asked_tokens_run_and_only_wanted_ones_reach_the_head(kind: str, text: str) -> None:
    model, method = tiny(kind), methods.parse(text)
    from tests.contracts.worlds import fits, prompts_for

    if not fits(method, model.traits):
        return
    watched = Watched(model)
    executor = OfflineExecutor(watched, model.traits)  # type: ignore[arg-type]
    decoder = Decoder(method, model.traits)
    s = decoder.start(prompts_for(kind))
    while not bool(s.done.all()):
        watched.layers.clear(), watched.heads.clear()
        plan = decoder.ask(s)
        preds = executor.run(plan.asks)
        assert sum(watched.layers) == sum(int(a.run.sum()) for a in plan.asks)
        assert len(watched.layers) <= 1, "more than one packed pass"
        assert sum(watched.heads) == int(preds[0].got.sum()) <= int(plan.asks[0].want.sum())
        s = decoder.absorb(s, plan, preds)


def ask(
    model: Model,
    tokens: Tensor,
    run: list[int],
    read: Sequence[int] = (),
    write: Sequence[int] = (),
    need: str = "logits",
) -> Ask:
    """An ask of all rows alike on a fully attending model."""

    def columns(which: Sequence[int]) -> Tensor:
        out = torch.zeros_like(tokens, dtype=torch.bool)
        out[:, list(which)] = True
        return out

    pos = torch.arange(tokens.shape[1]).expand_as(tokens)
    zero, none = torch.zeros_like(pos), torch.full_like(pos, -1)
    return Ask(
        tokens, columns(run), columns(read), columns(write), columns(run), Sight(pos, zero, zero, none, none), torch.arange(len(tokens)), Draw(),
        frozenset({need, "prob"}),
    )  # fmt: skip


def test_keys_of_columns_that_run_without_being_written_survive() -> None:
    model = tiny("full", 2)
    executor = OfflineExecutor(model.backbone, model.traits)  # type: ignore[arg-type]
    old = torch.randint(0, 20, (2, 8), generator=torch.Generator().manual_seed(0))
    new = old.clone()
    new[:, 3:5] = (new[:, 3:5] + 7) % 20
    every = list(range(8))
    executor.run([ask(model, old, every, [], every)])
    before = [k.clone() for k in executor.stores["main"].k] + [v.clone() for v in executor.stores["main"].v]
    first = executor.run([ask(model, new, [3, 4], [0, 1, 2, 5, 6, 7])])[0].read("logits")
    after = executor.stores["main"].k + executor.stores["main"].v
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert bool(executor.stores["main"].has.all())
    # what was computed did use the new tokens' own K/V, and can be computed again
    again = executor.run([ask(model, new, [3, 4], [0, 1, 2, 5, 6, 7])])[0].read("logits")
    stale = executor.run([ask(model, old, [3, 4], [0, 1, 2, 5, 6, 7])])[0].read("logits")
    assert torch.equal(first, again) and not torch.allclose(first, stale, atol=1e-3)
    # and written, they stay changed
    executor.run([ask(model, new, [3, 4], [0, 1, 2, 5, 6, 7], [3, 4])])
    assert not torch.equal(executor.stores["main"].k[0][:, 3:5], before[0][:, 3:5])


def test_a_column_that_only_ran_and_was_never_stored_cannot_be_read() -> None:
    model = tiny("full", 2)
    executor = OfflineExecutor(model.backbone, model.traits)  # type: ignore[arg-type]
    tokens = torch.randint(0, 20, (1, 8), generator=torch.Generator().manual_seed(0))
    with pytest.raises(RuntimeError, match="never stored"):
        executor.run([ask(model, tokens, [4, 5], [0, 1, 2, 3])])
    executor.run([ask(model, tokens, [0, 1, 2, 3, 4], [], [0, 1, 2])])
    executor.run([ask(model, tokens, [4, 5], [0, 1, 2])])
    for wrong in ([3], [0, 1, 2, 4], [7]):
        with pytest.raises(RuntimeError, match="never stored"):
            executor.run([ask(model, tokens, [5, 6], wrong)])
    assert executor.computed == 5 + 2


def test_stored_and_fresh_keys_give_one_result() -> None:
    """Half read, half run, against all run at once: unchanged tokens give the same logits."""
    model = tiny("full", 3)
    tokens = torch.randint(0, 20, (3, 10), generator=torch.Generator().manual_seed(1))
    every = list(range(10))
    executor = OfflineExecutor(model.backbone, model.traits)  # type: ignore[arg-type]
    whole = executor.run([ask(model, tokens, every, [], every)])[0].read("logits")
    part = executor.run([ask(model, tokens, [2, 7, 8], [0, 1, 3, 4, 5, 6, 9])])[0].read("logits")
    assert torch.allclose(part[:, [2, 7, 8]], whole[:, [2, 7, 8]], atol=1e-5)
    assert not bool(part[:, 0].any())


@pytest.mark.parametrize(
    "text",
    [
        "fast_dllm(block=4, threshold=0.3)",
        "fast_dllm(block=4, threshold=0.3, cache=prefix())",
        "llada(block=4, cfg=0.5, cache=dual(), select=threshold(bar=0.3))",
    ],
)
@pytest.mark.parametrize("kind", ["full", "full_shifted", "block"])
def test_rows_that_refresh_beside_rows_that_reuse(kind: str, text: str) -> None:
    """Requests of unequal lengths open their blocks at different steps; each decodes as it does alone."""
    model, method = tiny(kind, 6), methods.parse(text)
    decoder = Decoder(method, model.traits)
    phases: set[tuple[bool, ...]] = set()

    def watch(step: Step) -> None:
        phases.add(tuple(sorted(set((step.plan.seg.age[:, 0] == 0).tolist()))))

    together = decode(decoder, OfflineExecutor(model.backbone, model.traits), decoder.start(PROMPTS), watch)  # type: ignore[arg-type]
    assert (False, True) in phases, "no step had rows of both kinds"
    for i, prompt in enumerate(PROMPTS):
        alone = decode(decoder, OfflineExecutor(model.backbone, model.traits), decoder.start([prompt]))  # type: ignore[arg-type]
        width = alone.tokens.shape[1]
        assert torch.equal(alone.tokens[0], together.tokens[i, :width])
        assert torch.equal(alone.when[0], together.when[i, :width]) and int(alone.nfe) == int(together.nfe[i])
        assert torch.allclose(alone.logp[0], together.logp[i, :width], atol=1e-4)


def test_slots_are_the_requests_own() -> None:
    """Rows may come in any order and be split over runs; K/V goes by slot."""
    model = tiny("block", 4)
    decoder = Decoder(methods.parse("sdar(threshold=0.3)"), model.traits)

    def finish(orders: list[list[int]]) -> State:
        executor = OfflineExecutor(model.backbone, model.traits)  # type: ignore[arg-type]
        s = decoder.start(PROMPTS)
        for n in range(200):
            order = torch.tensor(orders[n % len(orders)])
            moved = s.rows(order)
            plan = decoder.ask(moved)
            s = decoder.absorb(moved, plan, executor.run(plan.asks)).rows(order.argsort())
            if bool(s.done.all()):
                return s
        raise AssertionError("no end")

    straight, shuffled = finish([[0, 1, 2, 3, 4]]), finish([[4, 2, 0, 3, 1], [1, 0, 4, 3, 2]])
    assert torch.equal(straight.tokens, shuffled.tokens) and torch.equal(straight.nfe, shuffled.nfe)


@pytest.mark.parametrize(
    "text",
    [
        "llada(block=4, cfg=0.5)",
        "fast_dllm(block=4)",
        "fast_dllm(block=4, cache=prefix())",
        "sdar(threshold=0.3)",
        "dream(temperature=0.5)",
    ],
)
def test_bfloat16_runs(text: str) -> None:
    model = tiny("block", 0, dtype=torch.bfloat16)
    decoder = Decoder(methods.parse(text), model.traits)
    executor = OfflineExecutor(model.backbone, model.traits)  # type: ignore[arg-type]
    final = decode(decoder, executor, decoder.start(PROMPTS))
    assert bool(final.done.all())
    assert all(store.k[0].dtype == torch.bfloat16 for store in executor.stores.values())
    assert bool(torch.isfinite(final.logp).all()) and final.logp.dtype == torch.float32
    fresh = final.known & ~final.fixed
    assert not bool((final.tokens[fresh] == KINDS["block"].mask).any())


def test_temperatures_of_rows_are_each_row_s_own() -> None:
    """`Draw.rows` gives each row its temperature: as if each had been asked alone with it."""
    model = tiny("full", 1)
    tokens = torch.randint(0, 20, (2, 12), generator=torch.Generator().manual_seed(2))
    uniform = torch.rand(2, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    base = replace(ask(model, tokens, list(range(12))), uniform=uniform)
    executor = OfflineExecutor(model.backbone, model.traits)  # type: ignore[arg-type]
    both = executor.run([replace(base, draw=Draw(1.0, confidence="filtered", rows=torch.tensor([0.1, 9.0])))])[0]
    for i, temperature in enumerate((0.1, 9.0)):
        one = executor.run([replace(base, draw=Draw(temperature, confidence="filtered"))])[0]
        assert torch.equal(one.token[i], both.token[i]) and torch.allclose(
            one.read("prob")[i], both.read("prob")[i], atol=1e-6
        )


@pytest.mark.parametrize(
    "draw", [Draw(top_k=1), Draw(top_p=0.01), Draw(min_p=0.99), Draw(1.0, top_k=1), Draw(0.7, top_p=0.01), Draw()]
)
def test_filters_that_leave_the_mask_alone_leave_the_best_other_id(draw: Draw) -> None:
    """A model whose arg max is the mask everywhere: with top-k 1 nothing else is kept, and still a true id must come."""
    model = tiny("full", 1, mask_bias=80.0)
    mask, vocab = model.traits.mask, model.traits.vocab
    tokens = torch.randint(0, 20, (2, 12), generator=torch.Generator().manual_seed(2))
    uniform = (
        torch.rand(2, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64) if draw.random else None
    )
    out = OfflineExecutor(model.backbone, model.traits).run(
        [replace(ask(model, tokens, list(range(12))), draw=draw, uniform=uniform)]
    )[0]  # type: ignore[arg-type]
    logits = out.read("logits").clone()
    assert bool((logits.argmax(-1) == mask).all())
    logits[..., mask] = float("-inf")
    assert torch.equal(out.token, logits[..., :vocab].argmax(-1)) if draw != Draw() or not draw.random else True
    assert bool((out.token < vocab).all()) and not bool((out.token == mask).any())


def test_penalty_and_suppression_act_before_the_draw() -> None:
    model = tiny("full", 1)
    tokens = torch.randint(0, 20, (1, 12), generator=torch.Generator().manual_seed(2))
    executor = OfflineExecutor(model.backbone, model.traits)  # type: ignore[arg-type]
    base = ask(model, tokens, list(range(12)))
    free = executor.run([base])[0].token
    ids = tuple(free.unique().tolist())
    held_back = executor.run([replace(base, draw=Draw(suppress=ids))])[0].token
    assert not set(held_back.flatten().tolist()) & set(ids)
    seen = torch.ones_like(tokens, dtype=torch.bool)
    heavy = executor.run([replace(base, draw=Draw(repetition_penalty=1e6), seen=seen)])[0]
    logits = heavy.read("logits")
    once = torch.zeros(logits.shape[-1], dtype=torch.bool)
    once[tokens[0]] = True
    expected = torch.where(once & (logits > 0), logits / 1e6, torch.where(once, logits * 1e6, logits))
    expected[..., model.traits.mask], expected[..., model.traits.vocab :] = float("-inf"), float("-inf")
    assert torch.equal(heavy.token, expected.argmax(-1))
