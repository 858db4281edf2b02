"""Decoding with a causal context and one open block is what the training layout says, step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import redraft
from redraft import methods
from redraft.core.draws import Keyed
from redraft.core.loop import Decoder, Step, decode
from redraft.core.types import Prompt, State
from redraft.engine import executor_for
from redraft.models import Model
from redraft.models.backbone import dense
from redraft.objectives import Canvas, Noised, Shifted, TwoStream

from .worlds import MASK, tiny

PROMPTS = (Prompt((3, 4, 5), 9), Prompt((5, 6, 7, 8, 9, 3), 7))


def causal() -> Model:
    """A random causal model with a mask token."""
    model = tiny("causal")
    return replace(model, traits=replace(model.traits, mask=MASK))


def run(text: str, on_step: object = None) -> State:
    model = causal()
    decoder = Decoder(methods.parse(text), model.traits)
    return decode(decoder, executor_for(model.backbone, model.traits), decoder.start(PROMPTS), on_step)  # type: ignore[arg-type]


def trained(tokens: torch.Tensor, known: torch.Tensor, block: int) -> torch.Tensor:
    """(T, V) logits that predict each column, from the two-stream view of one row."""
    model = causal()
    ones = torch.ones(1, len(tokens), dtype=torch.bool)
    canvas = Canvas(tokens[None], ones, ~known[None], ~ones, torch.zeros(1, dtype=torch.int64))
    noised = Noised(tokens[None], ~known[None], torch.ones(1, len(tokens)), torch.ones(1, len(tokens)))
    view = TwoStream(block, causal=True, bridge=True).lay(canvas, noised, ~known[None], Keyed(0))
    backbone = model.backbone
    hidden = backbone(backbone.embed(view.tokens[0]), view.pos[0], dense(view.mask(), 1))
    return backbone.head(hidden)[Shifted().outputs(view)[0, : len(tokens)].clamp_min(0)]


@pytest.mark.parametrize("block", [2, 4, 5])
@pytest.mark.parametrize("cache", ["none()", "exact()", "exact(fuse=false)"])
def test_every_commit_is_the_training_layouts_prediction(block: int, cache: str) -> None:
    seen = 0

    def watch(step: Step) -> None:
        nonlocal seen
        for i in range(len(step.rows)):
            length = int(step.before.valid[i].sum())
            columns = step.before.valid[i].nonzero().squeeze(-1)
            logits = trained(step.before.tokens[i, columns], step.before.known[i, columns], block)
            logits[:, step.before.traits.mask] = float("-inf")
            for place in range(length):
                column = int(columns[place])
                if bool(step.changed[i, column]):
                    assert int(step.tokens[i, column]) == int(logits[place].argmax())
                    seen += 1

    run(
        f"sdar(block={block}, threshold=0.3, cache={cache}, sight=open_block(size={block}), stop=full(whole=true))",
        watch,
    )
    assert seen >= 16


def test_default_sight_follows_the_traits() -> None:
    model = causal()
    wide = replace(model, traits=replace(model.traits, block=4))
    for text in ("sdar(threshold=0.3, stop=full(whole=true))", "autoregressive(stop=full(whole=true))"):
        decoder = Decoder(methods.parse(text), wide.traits)
        found = decode(decoder, executor_for(wide.backbone, wide.traits), decoder.start(PROMPTS))
        said = text.replace("sdar(", "sdar(block=4, sight=open_block(size=4), ")
        assert torch.equal(found.tokens, run(said).tokens)


def test_models_with_an_open_block_are_decoded_in_blocks() -> None:
    model = causal()
    wide = replace(model, traits=replace(model.traits, block=4))
    assert redraft.generate(wide, [3, 4, 5], max_new_tokens=4).method == "fast_dllm_v2"
    assert redraft.generate(model, [3, 4, 5], max_new_tokens=4).method == "autoregressive"


def test_block_one_is_autoregressive_decoding() -> None:
    one = run("sdar(block=1, sight=open_block(size=1), stop=full(whole=true))")
    two = run("autoregressive(stop=full(whole=true))")
    assert torch.equal(one.tokens, two.tokens)


def test_blocks_differ_from_causal_sight() -> None:
    one = run("sdar(block=4, threshold=0.3, sight=open_block(size=4), stop=full(whole=true))")
    two = run("sdar(block=4, threshold=0.3, stop=full(whole=true))")
    assert not torch.equal(one.tokens, two.tokens)
