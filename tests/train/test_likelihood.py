"""Likelihood estimators: means equal enumerated values, errors equal the spread, and perplexity equals what others compute."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import redraft
from redraft.core.draws import Keyed
from redraft.core.errors import BadInput, UnknownName, Unsupported
from redraft.core.traits import Traits
from redraft.evals.ppl import Sums, perplexity, spread, windows_of
from redraft.objectives import Canvas, CrossEntropy, Objective, TwoStream
from redraft.objectives.likelihood import (
    ESTIMATORS,
    AnyOrder,
    Blockwise,
    Coupled,
    Density,
    ExactCount,
    Guided,
    LeftToRight,
    LogProb,
    MonteCarlo,
    Quadrature,
    Replay,
    Stratified,
    estimator_of,
)
from redraft.objectives.likelihood.estimator import Look, scores
from redraft.objectives.likelihood.groups import Groups
from redraft.train.data import Document
from tests.train import test_brute_force as brute
from tests.train.test_brute_force import BLOCK, MASK, TRAITS, V, X, any_order, bound_loss, canvas_of, expected, network

SHARED = Path(__file__).parents[3] / "shared"
FULL = TRAITS
SHIFTED = replace(TRAITS, shift=True)
BLOCKS = replace(TRAITS, attention="block", block=BLOCK)
SHIFTED_BLOCKS = replace(BLOCKS, shift=True)
SINGLE = replace(TRAITS, attention="block", block=1)
CAUSAL = replace(TRAITS, attention="causal", block=1, shift=True)
OPENING = replace(TRAITS, attention="causal", block=BLOCK, shift=True)
UNIFORM = replace(TRAITS, noise="uniform")


def full_shifted(z: tuple[int, ...], x: tuple[int, ...]) -> torch.Tensor:
    return brute.one_later(brute.full(z, x))


@cache
def shifted_bound(block: int, causal: bool = False) -> float:
    """The bound of X[1:] given X[0], which no output predicts."""
    total = 0.0
    predict = partial(brute.bridged, causal=causal) if block else full_shifted
    states = [s for s in brute.masked(brute.linear, 4, block) if not s.hit[0]]
    for one in states:
        keep = 1 - one.u[0]  # the first column is given, not left clean by chance
        table = predict(one.z, X)
        total -= one.p / keep * sum(float(table[i, X[i]]) / one.u[i] for i in range(1, len(X)) if one.hit[i])
    return total


@cache
def exact(kind: str) -> float:
    """-bound, enumerated, in nats of the document."""
    if kind == "full":
        return -len(X) * expected(brute.masked(brute.linear, 4), bound_loss(brute.full, brute.by_weight))
    if kind == "block":
        states = brute.masked(brute.linear, 3, BLOCK)
        return -len(X) * expected(states, bound_loss(brute.two_stream, brute.by_weight))
    if kind == "single":
        return -any_order(partial(brute.two_stream, size=1), 1)
    if kind == "uniform":
        return -len(brute.SHORT) * expected(brute.uniform_states(24), brute.uniform_density)
    return -shifted_bound(BLOCK if kind.endswith("block") else 0, kind == "opening block")


CASES: list[tuple[str, Traits, Any]] = [
    *(("full", FULL, e) for e in (MonteCarlo(), ExactCount(), Stratified(), Coupled(), Quadrature(nodes=4))),
    ("full", FULL, AnyOrder(weighted=False)),
    ("full", FULL, Density(row=brute.BASE)),
    *(("shifted", SHIFTED, e) for e in (MonteCarlo(), ExactCount(), Coupled(), AnyOrder(weighted=False))),
    *(
        ("block", BLOCKS, e)
        for e in (MonteCarlo(), ExactCount(), Stratified(), Coupled(), Quadrature(nodes=2), Blockwise())
    ),
    ("block", BLOCKS, AnyOrder(weighted=False)),
    *(("shifted block", SHIFTED_BLOCKS, e) for e in (ExactCount(), Blockwise(), AnyOrder(weighted=False))),
    *(("opening block", OPENING, e) for e in (ExactCount(), Blockwise())),
    *(("single", SINGLE, e) for e in (MonteCarlo(), ExactCount(), Coupled(), Blockwise(), AnyOrder(), LeftToRight())),
    ("uniform", UNIFORM, Density()),
]
IDS = [f"{kind}-{type(e).__name__}" for kind, _, e in CASES]


def copies(kind: str, num: int) -> Canvas:
    """One document many times; numbers differ, so every row is an independent estimate."""
    return canvas_of(num, brute.SHORT if kind == "uniform" else X)


@pytest.mark.parametrize(("kind", "traits", "estimator"), CASES, ids=IDS)
def test_means_equal_the_enumerated_value_and_errors_the_spread(kind: str, traits: Traits, estimator: Any) -> None:
    rows, samples = (
        (200, 128) if kind == "uniform" else (300, 32)
    )  # what uniform noise adds near t = 0 is rare and large
    found: LogProb = estimator.estimate(network(), copies(kind, rows), traits, 1, samples, rows=1024)
    if kind == "single":
        assert found.kind == "exact" and not found.error.any() and (found.num_forwards == 1).all()
        assert found.value.tolist() == pytest.approx([exact(kind)] * rows, rel=1e-5)
        return
    drawn = found.value.std()
    mean_error = float(drawn) / math.sqrt(rows)
    assert mean_error < 0.02 * abs(exact(kind))
    assert abs(float(found.value.mean()) - exact(kind)) < 4 * mean_error + 2e-6 * abs(exact(kind))  # float32
    # the root mean square of the stated errors against the spread over seeds, each known to some 5 %
    assert float(found.error.pow(2).mean().sqrt()) == pytest.approx(float(drawn), rel=0.15)
    if kind.endswith("block") and isinstance(estimator, Coupled):
        assert not found.error.any()  # the two masks of a block of two, and the whole: nothing is left to chance
        return
    within = ((found.value - exact(kind)).abs() < 2 * found.error).double().mean()
    assert within > 0.85
    assert found.each is not None and torch.allclose(found.each.sum(1), found.value)


def test_importance_weighted_orders_state_their_error_too() -> None:
    found = AnyOrder().estimate(network(), copies("full", 300), FULL, 2, 24, rows=512)
    assert float(found.error.mean()) == pytest.approx(float(found.value.std()), rel=0.2)
    assert float(found.value.mean()) == pytest.approx(-any_order(brute.full, len(X)), abs=0.1)


def test_one_draw_cannot_tell_its_error() -> None:
    for estimator in (MonteCarlo(), ExactCount(), AnyOrder()):
        assert estimator.estimate(network(), copies("full", 2), FULL, 0, 1).error.isnan().all()


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"uniform", "blockwise"}))
def test_a_document_is_estimated_alike_alone_padded_and_in_any_batch(name: str) -> None:
    tokens = torch.tensor([[3, 0, 2, 1, 0, 0], [1, 1, 0, 2, 3, 0], [2, 0, 0, 0, 0, 0]])
    size = torch.tensor([4, 6, 3])[:, None]
    column = torch.arange(6)
    canvas = Canvas(tokens, column < size, (column < size) & (column > 0), (column < 0).expand(3, 6), torch.arange(3))
    whole = ESTIMATORS[name].estimate(network(), canvas, FULL, 3, 8, rows=64)
    ticks: list[int] = []
    again = ESTIMATORS[name].estimate(network(), canvas, FULL, 3, 8, rows=2, tick=ticks.append)
    assert torch.allclose(again.value, whole.value, atol=1e-5) and max(ticks) <= 2
    assert sum(ticks) == int(whole.num_forwards.sum())
    assert whole.num_tokens.tolist() == [3, 5, 2]  # the first column is given
    for row, num in enumerate(size[:, 0].tolist()):
        parts = (canvas.tokens, canvas.valid, canvas.answer, canvas.suffix)
        alone = Canvas(*(x[row : row + 1, :num] for x in parts), torch.tensor([row]))
        one = ESTIMATORS[name].estimate(network(), alone, FULL, 3, 8)
        assert float(one.value) == pytest.approx(float(whole.value[row]), abs=1e-5), row


def test_left_to_right_is_the_chain_rule() -> None:
    """Full attention: masks to the right. Blocks: side by side. Autoregressive: one forward."""
    wanted = sum(float(brute.full(X[:i] + (MASK,) * (4 - i), X)[i, X[i]]) for i in range(4))
    found = LeftToRight().estimate(network(), canvas_of(1), FULL)
    assert float(found.value) == pytest.approx(wanted, rel=1e-5) and found.num_forwards.tolist() == [4]
    assert found.kind == "exact" and not found.error.any()
    open_ = [X[:i] + (MASK,) * (4 - i) for i in range(4)]
    wanted = sum(float(brute.two_stream(open_[i], X)[i, X[i]]) for i in range(4))
    found = LeftToRight().estimate(network(), canvas_of(1), BLOCKS)
    assert float(found.value) == pytest.approx(wanted, rel=1e-5) and found.num_forwards.tolist() == [2]
    table = brute.one_later(brute.logits(X, lambda i, j: j <= i))
    for traits in (CAUSAL, OPENING):
        found = LeftToRight().estimate(network(), canvas_of(1), traits)
        assert float(found.value) == pytest.approx(sum(float(table[i, X[i]]) for i in range(1, 4)), rel=1e-5)
        assert found.num_forwards.tolist() == [1] and found.num_tokens.tolist() == [3]


def test_replay_follows_the_recorded_order() -> None:
    steps = torch.tensor([[5, 2, 9, 2]])  # columns 1 and 3 at once, then 0, then 2
    found = Replay(steps).estimate(network(), canvas_of(1), FULL)
    a, b, c = (MASK,) * 4, (MASK, X[1], MASK, X[3]), (X[0], X[1], MASK, X[3])
    wanted = [brute.full(z, X)[i, X[i]] for z, i in ((b, 0), (a, 1), (c, 2), (a, 3))]
    assert found.each is not None
    assert found.each[0].tolist() == pytest.approx([float(one) for one in wanted], rel=1e-5)
    assert found.num_forwards.tolist() == [3]


@pytest.mark.parametrize("method", ["llada(steps=8)", "llada(steps=3, temperature=0.7)"])
def test_replay_of_a_decoded_answer_gives_the_log_probabilities_it_was_drawn_with(method: str) -> None:
    model = redraft.load("redraft-tiny")
    result = redraft.generate(model, "12+34=", method=method, max_new_tokens=8)
    prompt = model.encode("12+34=")
    changes = list(result.trajectory)
    width = max(len(prompt) + 8, *(c.column + 1 for c in changes))
    tokens = torch.zeros(1, width, dtype=torch.int64)
    tokens[0, : len(prompt)] = torch.tensor(prompt)
    for change in changes:
        tokens[0, change.column] = change.token
    there = torch.ones_like(tokens, dtype=torch.bool)
    answer = torch.arange(width)[None] >= len(prompt)
    # the whole canvas is one block here, and confidences are taken over all ids, the mask among them
    row = Objective(layout=TwoStream(64), term=CrossEntropy(subs=False))
    canvas = Canvas(tokens, there, answer, ~there, torch.tensor([0]))
    found = Replay.of([result.trajectory], width, row).estimate(model.backbone, canvas, model.traits)
    assert found.each is not None
    for change in changes:
        assert float(found.each[0, change.column]) == pytest.approx(change.logp, abs=2e-3), change


def test_exact_counts_are_uniform() -> None:
    """Halves are rounded up: LLaDA's torch.round takes them to even numbers, which prefers some counts."""
    canvas = canvas_of(6000, (0, 1, 2, 3, 0))
    groups = Groups.of(canvas, Objective())
    estimator = ExactCount(members=2)
    seen = torch.zeros(6)
    for member in range(2):
        hit, weight, _ = estimator.mask(groups, Keyed(4), 0, estimator.design(4), member)
        seen += torch.bincount(hit.sum(1), minlength=6)
        assert torch.allclose(weight, 5 / hit.sum(1, keepdim=True).expand_as(weight))
    assert seen[0] == 0
    assert float((seen[1:] - 2400).abs().max()) < 4 * math.sqrt(2400)


def test_quadrature_says_when_it_is_no_bound() -> None:
    canvas = canvas_of(2, (0, 1, 2, 3, 0, 1, 2))
    assert Quadrature(nodes=4).estimate(network(), canvas, FULL, 0, 8).kind == "bound"
    assert Quadrature(nodes=3).estimate(network(), canvas, FULL, 0, 8).kind == "approximation"


@pytest.mark.parametrize(
    "case", ["loglik_l12_cfg0.0_s0", "loglik_l12_cfg1.5_s0", "loglik_l1_cfg0.0_s0", "loglik_l1_cfg1.5_s0"]
)
def test_lladas_own_numbers(case: str) -> None:
    folder = SHARED / "kit" / "train" / "llada" / case
    if not folder.is_dir():
        pytest.skip("../shared/kit/train is not there")
    meta = json.loads((folder / "meta.json").read_text())
    drawn = load_file(folder / "tensors.safetensors")
    mask = drawn["mask"].bool().flatten(0, 1)
    model = redraft.load(SHARED / "kit" / "core" / "llada" / Path(meta["ckpt"]).name)
    prompt, answer = meta["prompt_ids"], meta["answer_ids"]
    tokens = torch.tensor([prompt + answer])
    place = torch.arange(tokens.shape[1])[None]
    there = torch.ones_like(tokens, dtype=torch.bool)
    canvas = Canvas(tokens, there, place >= len(prompt), ~there, torch.tensor([0]))
    row = Guided(term=CrossEntropy(subs=False), scale=meta["params"]["cfg_scale"])
    mask = mask[:, -tokens.shape[1] :] if mask.shape[1] >= tokens.shape[1] else mask
    hits = torch.zeros(len(mask), tokens.shape[1], dtype=torch.bool)
    hits[:, -mask.shape[1] :] = mask
    looks = [Look(hit[None], hit[None], place * 0.0) for hit in hits]
    found = torch.cat(list(scores(model.backbone, row, canvas, looks, model.traits, 8, None)))
    weight = len(answer) / hits.sum(1)
    assert float((found.sum(1) * weight).mean()) == pytest.approx(meta["value"], rel=1e-5)


def test_what_cannot_be_scored_is_refused() -> None:
    packed = Canvas(
        *(getattr(canvas_of(2), n) for n in ("tokens", "valid", "answer", "suffix")), torch.tensor([[0, 0, 1, 1]] * 2)
    )
    with pytest.raises(BadInput, match="one document a row"):
        MonteCarlo().estimate(network(), packed, FULL)
    with pytest.raises(BadInput, match="mask token"):
        MonteCarlo().estimate(network(), canvas_of(1, (0, MASK)), FULL)
    with pytest.raises(Unsupported, match="block model"):
        Blockwise().estimate(network(), canvas_of(1), FULL)
    with pytest.raises(Unsupported, match="encoder-decoder"):
        MonteCarlo().estimate(network(), canvas_of(1), replace(FULL, attention="encoder_decoder"))
    with pytest.raises(BadInput, match="a step for each column"):
        Replay(torch.zeros(1, 2)).estimate(network(), canvas_of(1), FULL)
    with pytest.raises(UnknownName, match="exact_count"):
        estimator_of("exactcount", FULL)


@pytest.mark.parametrize(
    ("traits", "name"),
    [(FULL, "coupled"), (BLOCKS, "blockwise"), (CAUSAL, "left_to_right"), (OPENING, "blockwise"), (UNIFORM, "uniform")],
)
def test_every_kind_of_model_has_a_default(traits: Traits, name: str) -> None:
    assert estimator_of(None, traits)[0] == name
    assert traits.vocab == V


# ---- perplexity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "context", "stride"), [(10, 4, 4), (10, 4, 1), (3, 8, 8), (9, 4, 3), (1, 2, 2), (5, 4, 4)]
)
def test_windows_score_every_token_once(size: int, context: int, stride: int) -> None:
    document = Document(0, list(range(size)), [False] + [True] * (size - 1))
    seen = []
    for window in windows_of(document, context, stride):
        assert len(window.tokens) <= context
        scored = [t for t, a in zip(window.tokens, window.answer, strict=True) if a]
        assert window.tokens[0] not in scored  # each has a token before it to go on from
        if seen:
            given = len(window.tokens) - len(scored)
            assert given >= max(context - stride, 1)
        seen += scored
    assert seen == list(range(1, size))


def test_spread_is_a_ratios_standard_error() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(5, 50, (400, 60)).double()
    nats = tokens * 2.0 + torch.randn_like(tokens) * tokens.sqrt() * 3
    ratios = nats.sum(1) / tokens.sum(1)
    stated = spread([Sums(float(n), 0.0, int(t)) for n, t in zip(nats[0], tokens[0], strict=True)])
    assert stated == pytest.approx(float(ratios.std()), rel=0.3)
    assert spread([Sums(1.0, 0.0, 2)]) is None


STORIES = SHARED / "data" / "stories260k" / "hf"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    lines = ["Once upon a time there was a little dog. He liked to run.", "Lily went to the park with her mom."]
    path.write_text("".join(json.dumps({"text": one}) + "\n" for one in lines), encoding="utf-8")
    return path


@pytest.mark.skipif(not STORIES.is_dir(), reason="../shared/data/stories260k is not there")
def test_an_autoregressive_models_perplexity_is_transformers_own(texts: Path) -> None:
    from transformers import LlamaForCausalLM

    model = redraft.load(STORIES)
    found = redraft.perplexity(model, texts)
    theirs = LlamaForCausalLM.from_pretrained(STORIES).eval()
    nats, tokens = 0.0, 0
    for line in texts.read_text(encoding="utf-8").splitlines():
        ids = torch.tensor([model.encode(json.loads(line)["text"])])
        with torch.no_grad():
            nats += float(theirs(ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    assert found["tokens"] == tokens and found["documents"] == 2 and found["forwards"] == 2
    assert found["nll_per_token"] == pytest.approx(nats / tokens, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert found["error"] == 0 and found["bound"] == "exact" and found["estimator"] == "left_to_right"
    windowed = perplexity(model, texts, context=9, stride=4)
    assert windowed["tokens"] == tokens and windowed["nll_per_token"] == pytest.approx(
        strided(theirs, model, texts) / tokens
    )


def strided(theirs: Any, model: Any, texts: Path) -> float:
    """Nats in windows of 9 tokens that move on by 4, written out."""
    nats = 0.0
    for line in texts.read_text(encoding="utf-8").splitlines():
        ids = model.encode(json.loads(line)["text"])
        for i in range(1, len(ids)):
            start = 0 if i < 9 else (i - 9) // 4 * 4 + 4
            with torch.no_grad():
                table = theirs(torch.tensor([ids[start:i]])).logits[0, -1].double().log_softmax(-1)
            nats -= float(table[ids[i]])
    return nats


def test_perplexity_of_a_block_model(texts: Path) -> None:
    model = redraft.load("redraft-tiny")
    done: list[tuple[int, int]] = []
    found = perplexity(model, texts, samples=8, on_progress=lambda a, b: done.append((a, b)))
    assert found["estimator"] == "blockwise" and found["bound"] == "upper bound" and found["error"] > 0
    assert found["bits_per_token"] == pytest.approx(found["nll_per_token"] / math.log(2))
    assert done[-1] == (2, 2) and found["forwards"] == 18
    same = {k: v for k, v in found.items() if k != "seconds"}
    assert {k: v for k, v in perplexity(model, texts, samples=8).items() if k != "seconds"} == same
    other = perplexity(model, texts, samples=8, seed=1)
    assert abs(other["nll_per_token"] - found["nll_per_token"]) < 5 * math.hypot(found["error"], other["error"])
    one = perplexity(model, texts, samples=1, limit=1)
    assert one["error"] is None and one["documents"] == 1 and one["document_error"] is None
    for words, given in {
        "sample": {"samples": 0},
        "limit": {"limit": 0},
        "context": {"context": 1},
        "stride": {"context": 8, "stride": 9},
    }.items():
        with pytest.raises(BadInput, match=words):
            perplexity(model, texts, **given)


def test_the_verb(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from redraft.cli.main import main

    with pytest.raises(SystemExit) as left:
        main(["eval", "ppl", "--data", str(texts), "--samples", "4", "--estimator", "exact_count", "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["estimator"] == "exact_count" and found["samples"] == 4 and found["model"] == "redraft-tiny"
    with pytest.raises(SystemExit) as left:
        main(["eval", "ppl", "--data", str(texts), "--estimator", "nonsense"])
    assert left.value.code == 1 and "no estimator is named 'nonsense'" in capsys.readouterr().err
