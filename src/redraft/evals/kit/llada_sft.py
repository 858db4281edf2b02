"""Fine-tuning of LLaDA: dllm-reasoning/d1 SFT/sft_trainer.py, and the normaliser of LLaDA's GUIDELINES.md."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...objectives import CrossEntropy, InverseRate, Objective, PerDocument, PerToken, Times, Uniform
from ...objectives.reached import Even
from ..conform import Mismatch
from ..conform_train import TrainCase
from ._recorded import RecordedDraws, losses, rows, traits

IGNORED = -100  # a label that is not learned


def train(case: TrainCase) -> dict[str, Tensor]:
    if not case.variant.startswith(("d1_random_t", "d1_eval_t")):
        raise Mismatch(f"variant {case.variant!r} is not known here (known: d1_random_t, d1_eval_t)")
    tokens, logits, lengths = case.take("x0"), case.take("raw_logits"), case.take("prompt_lengths")
    about = traits(case.mask, logits.shape[-1])
    times: Times
    if case.variant.startswith("d1_random_t"):
        first, second = case.draws("rand", "rand")
        times, draws = Uniform(low=1e-3), RecordedDraws({"time": first, "mask": second})
    else:
        (second,) = case.draws("rand")
        times, draws = Even(len(tokens), low=1e-3), RecordedDraws({"mask": second})
    answer = torch.arange(tokens.shape[1]) >= lengths
    canvas = rows(tokens, answer, torch.ones_like(answer))  # the padding is end tokens, and learned
    ours = Objective(
        times=times, term=CrossEntropy(subs=False), weight=InverseRate(), normaliser=PerToken("answer")
    )  # fmt: skip
    noised = ours.corrupt(canvas, draws, about)
    found = losses(ours, canvas, noised, logits, about)
    return {
        "noisy_input_ids": noised.tokens,
        "labels": torch.where(noised.hit, tokens, IGNORED),
        "p_mask": noised.rate,
        "num_prompt_tokens": (~answer).sum(),
        "token_ce": found.each,
        "loss_d1": found.loss,
        "loss_llada_guidelines": losses(
            replace(ours, normaliser=PerDocument("answer")), canvas, noised, logits, about
        ).loss,
    }
