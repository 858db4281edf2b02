"""LLaDA2.0's generate, as published with the model."""

from __future__ import annotations

import re

from torch import Tensor

from ...methods import make
from ...parts.stop.eos import Eos
from ..conform import Case, Params, Run
from ._logits import everything
from ._prompts import prompts

FUNCTIONS = ("LLaDA2MoeModelLM.generate",)


def logits(case: Case) -> dict[str, Tensor]:
    def block_of(name: str) -> int:
        found = re.search(r"_bc(\d+)$", name)
        return int(found[1]) if found else 32

    return everything(case, case.model(), block_of)


def generate(case: Case, params: Params) -> Run:
    params.take("temperature", 0.0, only=[0.0])
    params.take("top_p"), params.take("top_k")  # without effect at temperature 0
    length = params.take("gen_length", 2048)
    steps = min(params.take("steps", 32), length // params.take("minimal_topk", 1))
    early = params.take("eos_early_stop", False)
    method = make(
        "llada2",
        {
            "threshold": params.take("threshold", 0.95),
            "steps": steps,
            "early_stop": early,
        },
        {"stop": Eos("either" if early else "block", whole=True, fresh=True)},
    )
    model = case.model(block=params.take("block_length", 32), eos_id=params.take("eos_id", 156892))
    return Run(model, method, prompts(case.meta, length), length=length, ends=model.traits.eos)
