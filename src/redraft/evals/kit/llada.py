"""ML-GSAI/LLaDA generate.py."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ...methods import make
from ...parts.stop.full import Full
from ..conform import Case, Params, Run
from ._logits import everything
from ._prompts import prompts

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
