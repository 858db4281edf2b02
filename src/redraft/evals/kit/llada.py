"""ML-GSAI/LLaDA generate.py and get_log_likelihood.py."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...methods import make
from ...objectives import CrossEntropy, InverseRate, PerDocument
from ...objectives.likelihood import Guided
from ...objectives.policies import ExactCount
from ...objectives.reached import SpreadCounts
from ...parts.stop.full import Full
from ..conform import Case, Mismatch, Params, Run
from ..conform_train import TrainCase, seeded
from ._logits import everything
from ._prompts import prompts
from ._recorded import RecordedDraws, rows

FUNCTIONS = ("generate",)


def logits(case: Case) -> dict[str, Tensor]:
    return everything(case, case.model(), lambda name: 0)


def generate(case: Case, params: Params) -> Run:
    model = case.model()
    eos, eot = params.take("eos_id", 126081), params.take("eot_id", 126348)
    model.traits = replace(model.traits, eos=(eos, eot))
    params.take("temperature", 0.0, only=[0.0])
    method = make(
        "llada",
        {
            "steps": params.take("steps", 128),
            "block": params.take("block_length", 128),
            "cfg": params.take("cfg_scale", 0.0),
            "remasking": params.take("remasking", "low_confidence", only=["low_confidence"]),
            "suppress_eos": params.take("logits_eos_inf", False),
            "distrust_eos": params.take("confidence_eos_eot_inf", False),
        },
        {"stop": Full(whole=True)},
    )
    return Run(model, method, prompts(case.meta, params.take("gen_length", 128)))


def train(case: TrainCase) -> dict[str, Tensor]:
    """get_log_likelihood.py: Monte Carlo with exact counts of masks, spread over a batch."""
    if case.case.meta["kind"] != "likelihood":
        raise Mismatch(f"kind {case.case.meta['kind']!r} is not known here (known: likelihood)")
    case.entry("ckpt")
    model = case.case.model()
    prompt, answer = (torch.tensor(case.entry(name)) for name in ("prompt_ids", "answer_ids"))
    batch, num = int(case.params.take("batch_size")), int(case.params.take("mc_num"))
    if case.mask != model.traits.mask:
        raise Mismatch(f"mask_id {case.mask} is not the checkpoint's {model.traits.mask}")
    ours = Guided(
        times=SpreadCounts(batch),
        masking=ExactCount(),
        term=CrossEntropy(subs=False),
        weight=InverseRate(),
        normaliser=PerDocument(None),
        scale=float(case.params.take("cfg_scale")),
    )
    tokens = torch.cat((prompt, answer)).repeat(batch, 1)
    learned = torch.arange(tokens.shape[1]) >= len(prompt)
    canvas = rows(tokens, learned.expand_as(tokens), torch.ones_like(tokens))
    masks, rates, values = [], [], []
    with seeded(case.seed()):
        for _ in range(num // batch):
            first = torch.randint(1, len(answer) + 1, ())
            order = torch.stack([torch.randperm(len(answer)) for _ in range(batch)])
            before = torch.zeros(batch, len(prompt))
            draws = RecordedDraws(
                {
                    "count": ((first - 0.5) / len(answer)).expand(tokens.shape),
                    "mask": torch.cat((before, order / len(answer)), 1),
                }
            )
            noised = ours.corrupt(canvas, draws, model.traits)
            job = ours.job(canvas, noised, draws, model.traits)
            values.append(-ours.run({"main": model.backbone}, job, job.counts).value)
            masks.append(noised.hit)
            rates.append(noised.rate)
    return {"mask": torch.stack(masks), "p_mask": torch.stack(rates), "value": torch.stack(values).mean()}
