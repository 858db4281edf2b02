"""HKUNLP/DiffuLLaMA: the loss of DiffuLLaMA-training/train.py and the annealed attention mask of model.py."""

from __future__ import annotations

import torch
from torch import Tensor

from ...objectives import Causal, CrossEntropy, Objective, PerToken, Shifted, Uniform
from ...objectives.forcing import Annealed
from ...objectives.reweight import InverseTime
from ..conform import Mismatch
from ..conform_train import TrainCase
from ._recorded import RecordedDraws, losses, plain, rows, traits


def train(case: TrainCase) -> dict[str, Tensor]:
    if not case.variant.startswith("loss_and_anneal_mask"):
        raise Mismatch(f"variant {case.variant!r} is not known here (known: loss_and_anneal_mask)")
    tokens, logits = case.take("input_ids"), case.take("raw_logits")
    first, second = case.draws("rand", "rand")
    about = traits(case.mask, logits.shape[-1])
    ours = Objective(
        times=Uniform(low=1e-3),
        target=Shifted(),
        term=CrossEntropy(subs=False),
        weight=InverseTime(),
        normaliser=PerToken("learned"),
    )
    noised = ours.corrupt(rows(tokens), RecordedDraws({"time": first, "mask": second}), about)
    # the first column is masked like the others, and neither learned nor counted: nothing predicts it
    behind = (torch.arange(tokens.shape[1]) > 0).expand_as(tokens)
    found = losses(ours, rows(tokens, behind, torch.ones_like(behind)), noised, logits, about)

    opened = case.take("anneal_draw00_bernoulli")
    square = rows(torch.zeros(1, len(opened), dtype=torch.int64))
    blank = plain(square.tokens)
    # a recorded 1 opens: as a uniform number it is below the share
    annealed = Annealed(0.5, Causal()).lay(square, blank, blank.hit, RecordedDraws({"open": 1.0 - opened[None]}))
    return {
        "t": noised.time[:, 0],
        "xt": noised.tokens,
        "loss": found.loss,
        "anneal_mask": annealed.mask()[0],
    }
