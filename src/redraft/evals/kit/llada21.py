"""LLaDA2.1's generate, as published with the model."""

from __future__ import annotations

from torch import Tensor

from ...methods import make
from ...parts.revise.edit import Edit
from ...parts.stop.eos import Eos
from ..conform import Case, Params, Run
from ._prompts import prompts
from .llada2 import logits as logits

FUNCTIONS = ("LLaDA2MoeModelLM.generate",)


def generate(case: Case, params: Params) -> Run:
    params.take("temperature", 0.0, only=[0.0])
    # the reference reads neither, and filters only above temperature 0
    params.take("steps"), params.take("minimal_topk"), params.take("top_p"), params.take("top_k")
    length = params.take("gen_length", 2048)
    early = params.take("eos_early_stop", False)
    eos = params.take("eos_id", 156892)
    edit = Edit(float(params.take("editing_threshold", 0.9)), params.take("max_post_steps", 16), prompt=False)
    method = make(
        "llada21",
        {
            "threshold": params.take("threshold", 0.95),
            "edit": edit.bar,
            "post": edit.post,
            "least": params.take("num_to_transfer", 1),
        },
        {"stop": Eos("block", whole=True), "revise": edit},
    )
    model = case.model(block=params.take("block_length", 32), eos_id=eos if early else -5)
    return Run(model, method, prompts(case.meta, length), length=length, ends=(eos,))


__all__ = ["Tensor", "generate", "logits"]
