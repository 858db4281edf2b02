"""NVlabs/Fast-dLLM dream/model: the block sampler with caches, and the threshold rule on the whole canvas."""

from __future__ import annotations

from torch import Tensor

from ...methods import make
from ...parts.cache.dual import Dual
from ...parts.cache.none import None_ as NoCache
from ...parts.cache.prefix import Prefix
from ...parts.draw.sample import Sample
from ...parts.stop.full import Full
from ..conform import Case, Params, Run
from ._prompts import prompts
from .fastdllm_llada import logits as cached_logits

FUNCTIONS = ("diffusion_generate", "DreamGenerationMixin.diffusion_generate")


def logits(case: Case) -> dict[str, Tensor]:
    return cached_logits(case)


def generate(case: Case, params: Params) -> Run:
    params.take("return_dict_in_generate"), params.take("output_history")
    params.take("temperature", 0.0, only=[0.0])
    params.take("alg_temp", None, only=[None, 0.0, 0])
    length, steps, eps = params.take("max_new_tokens"), params.take("steps", 512), params.take("eps", 1e-3)
    top_p, top_k = params.take("top_p") or 1.0, params.take("top_k", 50) or 0
    function = str(case.meta["reference"].get("file")) + str(case.meta["reference"].get("function"))
    blocks = "block_length" in params.left or "dual_cache" in params.left or "block" in function
    alg = params.take("alg", "origin", only=["confidence_threshold", "entropy", "maskgit_plus", "topk_margin"])
    threshold, block, dual = (
        params.take("threshold", 0.9),
        params.take("block_length", 32),
        params.take("dual_cache", False),
    )
    if not blocks and alg != "confidence_threshold":  # Dream's own sampler
        method = make("dream", {"alg": alg, "steps": steps, "eps": eps, "top_p": float(top_p), "top_k": top_k})
        return Run(case.model(), method, prompts(case.meta, length))
    method = make(
        "fast_dllm",
        {
            "threshold": threshold if alg == "confidence_threshold" else None,
            "steps": steps,
            "block": block or length,
            "eps": eps,
            "form": "dream" if blocks else "dream_whole",
            "cache": (Dual() if dual else Prefix()) if blocks else NoCache(),
        },
        {"stop": Full(whole=True), "draw": Sample(0.0, top_k, float(top_p), confidence="filtered")},
    )
    return Run(case.model(), method, prompts(case.meta, length))
