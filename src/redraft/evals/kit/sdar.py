"""JetAstra/SDAR generate.py. Its temperature 1.0 was recorded with arg-max draws."""

from __future__ import annotations

import re

from torch import Tensor

from ...methods import make
from ...parts.score.leftmost import Leftmost
from ...parts.select.entropy_bound import EntropyBound
from ...parts.stop.eos import Eos
from ..conform import Case, Params, Run
from ._logits import everything
from ._prompts import prompts

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
