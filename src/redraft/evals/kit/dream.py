"""Dream's generation_utils.py."""

from __future__ import annotations

from torch import Tensor

from ...methods import make
from ...parts.stop.full import Full
from ..conform import Case, Params, Run
from ._logits import everything
from ._prompts import prompts

FUNCTIONS = ("DreamGenerationMixin.diffusion_generate",)


def logits(case: Case) -> dict[str, Tensor]:
    return everything(case, case.model(), lambda name: 0)


def generate(case: Case, params: Params) -> Run:
    params.take("return_dict_in_generate"), params.take("output_history")
    params.take("temperature", 0.0, only=[0.0])
    params.take("alg_temp", None, only=[None, 0.0, 0])
    method = make(
        "dream",
        {
            "alg": params.take("alg", "origin", only=["maskgit_plus", "topk_margin", "entropy"]),
            "steps": params.take("steps", 512),
            "eps": params.take("eps", 1e-3),
            "top_p": params.take("top_p", None) or 1.0,
            "top_k": params.take("top_k", 50) or 0,
        },
        {"stop": Full(whole=True)},
    )
    return Run(case.model(), method, prompts(case.meta, params.take("max_new_tokens")))
