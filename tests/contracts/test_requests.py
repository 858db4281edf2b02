"""What a request may say, and how it is answered: pins, ends, seeds, numbers out of range."""

from __future__ import annotations

from typing import Any

import pytest

import redraft
from redraft.core.errors import BadInput, Unsupported
from redraft.core.loop import Decoder
from redraft.core.types import Prompt
from redraft.methods import parse

from .worlds import KINDS, tiny


@pytest.fixture(scope="module")
def box() -> Any:
    return redraft.load("redraft-tiny")


@pytest.mark.parametrize(
    "method", ["llada", "dream", "fast_dllm", "fast_dllm(form=dream)", "sdar(strategy=sequential)"]
)
def test_pinned_text_stays_in_the_answer_behind_an_end(box: Any, method: str) -> None:
    pinned = box.encode(" hello")
    result = redraft.generate(box, "123+456=", method=method, max_new_tokens=24, pin={16: " hello"})
    assert result.tokens[-len(pinned) :] == pinned or result.tokens[16 : 16 + len(pinned)] == pinned
    assert "hello" in result.text


def test_pins_that_overlap_or_leave_the_answer_are_refused(box: Any) -> None:
    for pin in ({0: "abc", 1: "zz"}, {11: "abc"}, {-1: "a"}):
        with pytest.raises(BadInput, match="pinned"):
            redraft.generate(box, "1+1=", max_new_tokens=12, pin=pin)
    with pytest.raises(BadInput, match="pinned"):
        Decoder(parse("diffusion_gemma(steps=5)"), KINDS["uniform"]).start([Prompt((1, 2), 2, pins=((4, (3,)),))])


def test_tokens_per_forward_counts_what_was_decoded(box: Any) -> None:
    result = redraft.generate(box, "123+456=", max_new_tokens=2, pin={0: "12"})
    assert (result.tokens, result.forwards, result.tokens_per_forward) == (box.encode("12"), 0, 0.0)


@pytest.mark.parametrize(
    "given",
    [
        {"seed": 1.5}, {"seed": None}, {"seed": True}, {"seed": [1, 2]}, {"method": 5}, {"pin": ["a"]}, {"pin": {"0": "a"}}, {"suffix": ""},
        {"method": ""}, {"temperature": 1e-38}, {"temperature": -1}, {"top_p": 0.0}, {"top_k": 1.5}, {"repetition_penalty": 0.0},
        {"max_new_tokens": 0}, {"max_new_tokens": 2.0}, {"max_forwards": 0},
    ],
)  # fmt: skip
def test_bad_arguments_get_one_sentence(box: Any, given: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        redraft.generate(box, "1+1=", **{"max_new_tokens": 4, **given})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prompt", [None, 5, b"12", [], "", ["a", None], [1.0, 2.0]])
def test_bad_prompts_get_one_sentence(box: Any, prompt: Any) -> None:
    with pytest.raises(BadInput):
        redraft.generate(box, prompt, max_new_tokens=4)
    with pytest.raises(BadInput):
        redraft.generate("redraft-tiny", "1+1=")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "text",
    [
        "fast_dllm(threshold=1e999)", "fast_dllm(block=-5)", "fast_dllm(factor=-1.0)", "llada(steps=-4)", "llada(temperature=-1.0)",
        "dream(top_k=-3)", "dream(eps=2.0)", "fast_dllm_v2(sub_block=-3)", "llada(block=99999999999999999999)",
        "llada(draw=sample(temperature=0.0000001))", "llada21(post=-1)",
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused_when_read(text: str) -> None:
    with pytest.raises(BadInput):
        parse(text)


@pytest.mark.parametrize("ids", ["(-1,)", "(99999,)"])
def test_ids_that_the_model_has_not_are_refused(box: Any, ids: str) -> None:
    with pytest.raises(BadInput, match="suppress"):
        redraft.generate(box, "1+1=", max_new_tokens=4, method=f"llada(draw=sample(suppress={ids}))")


def test_refusals_name_what_is_expected_first() -> None:
    with pytest.raises(Unsupported, match="expects a model with causal attention"):
        parse("autoregressive").check(KINDS["full"])


def test_the_text_form_keeps_what_was_written() -> None:
    assert str(parse("fast_dllm( threshold = 0.9 )")) == "fast_dllm(threshold=0.9)"


def test_a_suffix_changes_the_gap_s_first_token_on_causal_models() -> None:
    model = tiny("causal", 3)
    found = {
        tuple(
            redraft.generate(
                model, [3, 4, 5], max_new_tokens=4, suffix=[a, a + 1, a + 2], method="autoregressive"
            ).tokens
        )[:1]
        for a in range(1, 14)
    }
    assert len(found) > 1
