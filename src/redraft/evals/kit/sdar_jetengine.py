"""JetEngine's scheduler: SDAR's strategies and the entropy bound."""

from __future__ import annotations

from torch import Tensor

from ...methods import make
from ...parts.stop.eos import Eos
from ..conform import Case, Params, Run
from ._prompts import prompts
from .sdar import STRATEGIES
from .sdar import logits as logits

FUNCTIONS = ("Scheduler.postprocess",)


def generate(case: Case, params: Params) -> Run:
    params.take("temperature", 1.0, only=[1.0])
    block = params.take("block_length", 4)
    method = make(
        "sdar",
        {
            "strategy": STRATEGIES[params.take("strategy", "low_confidence_static", only=list(STRATEGIES))],
            "steps": params.take("denoising_steps", 4),
            "threshold": params.take("dynamic_threshold", 0.9),
            "bound": params.take("eb_threshold", 0.35),
            "top_k": params.take("top_k", params.take("topk", 0)),
            "top_p": params.take("top_p", params.take("topp", 1.0)),
        },
        {"stop": Eos("block", whole=True)},
    )
    return Run(case.model(block=block, eos_id=-5), method, prompts(case.meta, params.take("gen_length", 64)))


__all__ = ["Tensor", "generate", "logits"]
