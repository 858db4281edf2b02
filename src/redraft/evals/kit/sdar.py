"""JetAstra/SDAR generate.py (its temperature 1.0 was recorded with arg-max draws), and the training half of its model."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ...methods import make
from ...objectives import Canvas, CrossEntropy, InverseRate, Noised, Objective, PerToken, TwoStream, Uniform
from ...parts.score.leftmost import Leftmost
from ...parts.select.entropy_bound import EntropyBound
from ...parts.stop.eos import Eos
from ..conform import Case, Mismatch, Params, Run
from ..conform_train import TrainCase, seeded
from ._entry import entry
from ._logits import everything
from ._prompts import prompts
from ._recorded import RecordedDraws, answer, losses, plain, rows, view
from .masks import each, packed, two_stream

STRATEGIES = {
    "low_confidence_static": "static",
    "low_confidence_dynamic": "dynamic",
    "sequential": "sequential",
    "entropy_bounded": "entropy_bounded",
}

FUNCTIONS = ("block_diffusion_generate",)


def logits(case: Case) -> dict[str, Tensor]:
    def block_of(name: str) -> int:
        found = re.search(r"blockcausal(\d+)$", name)
        return int(found[1]) if found else 0

    return everything(case, case.model(), block_of)


def training(case: TrainCase) -> dict[str, Tensor]:
    """Both streams' logits, masks, and one seeded noising: documents packed for the noise, one document for the loss."""
    clean, masked = (entry(case.case, name) for name in ("ids_plain", "ids_masked"))
    model, width = case.case.model(), clean.shape[1]
    out = each(case, r"train_mask_L(\d+)_B(\d+)", lambda m: two_stream(int(m[1]), int(m[2])))
    out |= each(
        case,
        r"train_mask_packed_(\d+(?:_\d+)*)_B(\d+)",
        lambda m: packed([int(n) for n in m[1].split("_")], int(m[2])),
    )

    def both(block: int, noised: Noised) -> Tensor:
        return answer(model, view(TwoStream(block), rows(clean), noised))

    out |= each(case, r"logits_train_xt_x0_B(\d+)", lambda m: both(int(m[1]), plain(masked)))
    said = re.search(
        r"manual_seed\((\d+)\); forward_add_noise_packed\(num_tokens=\[([\d,]+)\], prompt=first (\d+)\)",
        str(case.case.meta["note"]),
    )
    if said is None:
        raise Mismatch("the note does not say what was noised (manual_seed, num_tokens, prompt)")
    lengths = [int(n) for n in said[2].split(",")]
    sample = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    place = torch.cat([torch.arange(n) for n in lengths])
    valid = torch.ones(1, width, dtype=torch.bool)
    learned = torch.arange(width)[None] >= int(said[3])
    block = int(re.search(r"train_mask_L\d+_B(\d+)", " ".join(case.tensors))[1])  # type: ignore[index]
    ours = Objective(
        times=Uniform(low=1e-3),
        layout=TwoStream(block),
        term=CrossEntropy(subs=False),
        weight=InverseRate(),
        normaliser=PerToken("answer"),
    )
    with seeded(int(said[1])):
        time = torch.rand(len(lengths)).repeat_interleave(torch.tensor(lengths))
        draws = RecordedDraws({"time": time[None], "mask": torch.rand(1, width)})
    noised = ours.corrupt(Canvas(clean, valid, learned, ~valid, sample[None], place[None]), draws, model.traits)
    canvas = rows(clean, learned, valid)
    logits = both(block, noised)
    return out | {
        "noise_ids": noised.tokens,
        "noise_masked": noised.hit,
        "noise_pmask": noised.rate[noised.hit],
        "loss_train": losses(ours, canvas, noised, logits, model.traits).loss,
    }


def generate(case: Case, params: Params) -> Run:
    params.take("temperature", 1.0, only=[1.0])
    block = params.take("block_length", 8)
    strategy = STRATEGIES[params.take("remasking_strategy", "low_confidence_dynamic", only=list(STRATEGIES))]
    bound = params.take("eb_threshold")
    # generate.py's own bound is one number for the whole block; JetEngine's is the method's
    slots = (
        {"score": Leftmost(), "select": EntropyBound(float(bound or 0.0), of="block")}
        if strategy == "entropy_bounded"
        else {}
    )
    method = make(
        "sdar",
        {
            "strategy": strategy,
            "steps": params.take("denoising_steps", 8),
            "threshold": params.take("confidence_threshold", 0.85),
            "top_k": params.take("top_k", 0),
            "top_p": params.take("top_p", 1.0),
        },
        {"stop": Eos("block", whole=True), **slots},
    )
    stops = params.take("stopping_criteria_idx") or [-5]
    model = case.model(block=block, eos_id=tuple(stops))
    return Run(model, method, prompts(case.meta, params.take("gen_length", 128)))
