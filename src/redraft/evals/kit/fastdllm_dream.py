"""NVlabs/Fast-dLLM dream/model: the block sampler with caches, and the threshold rule on the whole canvas."""

from __future__ import annotations

from torch import Tensor

from ...methods import make
from ...parts.cache.dual import Dual
from ...parts.cache.none import None_ as NoCache
from ...parts.cache.prefix import Prefix
from ...parts.stop.full import Full
from ..conform import Case, Params, Run
from ._prompts import prompts
from .fastdllm_llada import logits as cached_logits


def logits(case: Case) -> dict[str, Tensor]:
    return cached_logits(case)


def generate(case: Case, params: Params) -> Run:
    params.take("return_dict_in_generate"), params.take("output_history")
    params.take("temperature", 0.0, only=[0.0])
    params.take("alg_temp", None, only=[None, 0.0, 0])
    blocks = "block_length" in params.left
    alg = params.take("alg", "confidence_threshold", only=["confidence_threshold", "entropy", "maskgit_plus"])
    threshold = params.take("threshold", 0.9)
    method = make(
        "fast_dllm",
        {
            "threshold": threshold if alg == "confidence_threshold" else None,
            "steps": params.take("steps", 512),
            "block": params.take("block_length", 32),
            "eps": params.take("eps", 1e-3),
            "form": "dream" if blocks else "dream_whole",
            "cache": (Dual() if params.take("dual_cache", False) else Prefix()) if blocks else NoCache(),
        },
        {"stop": Full(whole=True)},
    )
    return Run(case.model(), method, prompts(case.meta, params.take("max_new_tokens")))
