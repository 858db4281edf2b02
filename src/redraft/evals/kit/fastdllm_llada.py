"""NVlabs/Fast-dLLM llada/generate.py, two revisions."""

from __future__ import annotations

import torch
from torch import Tensor

from ...methods import make
from ...parts.cache.dual import Dual
from ...parts.cache.none import None_ as NoCache
from ...parts.cache.prefix import Prefix
from ...parts.stop.full import Full
from ..conform import Case, Mismatch, Params, Run
from ._logits import Session
from ._prompts import prompts

CACHES = {"generate": NoCache(), "generate_with_prefix_cache": Prefix(), "generate_with_dual_cache": Dual()}
FUNCTIONS = tuple(CACHES)


def logits(case: Case) -> dict[str, Tensor]:
    model = case.model()
    ids, edited = torch.tensor(case.meta["ids"]), torch.tensor(case.meta["ids_edited"])
    start, end = case.meta["block"]
    width = ids.shape[1]

    def after(first: Tensor, second: Tensor, run: slice, write: bool) -> Tensor:
        session = Session(model)
        session.forward(first, write=True)
        outside = slice(0, start)
        if not write:
            return session.forward(second, run=run, read=outside)
        return session.forward(second, run=run, read=slice(0, width), write=True)

    return {
        "logits_full": Session(model).forward(ids),
        "logits_prefix": after(ids, ids, slice(start, width), False),
        "logits_prefix_edited": after(ids, edited, slice(start, width), False),
        "logits_dual_edited": after(ids, edited, slice(start, end), True),
    }


def generate(case: Case, params: Params) -> Run:
    params.take("temperature", 0.0, only=[0.0])
    params.take("remasking", "low_confidence", only=["low_confidence"])
    function = case.meta["reference"].get("function")
    if function not in CACHES:
        raise Mismatch(f"function {function!r} is not known here (known: {', '.join(CACHES)})")
    method = make(
        "fast_dllm",
        {
            "threshold": params.take("threshold"),
            "factor": params.take("factor"),
            "steps": params.take("steps", 128),
            "block": params.take("block_length", 128),
            "cache": CACHES[function],
            "quirk": True,
        },
        {"stop": Full(whole=True)},
    )
    return Run(case.model(), method, prompts(case.meta, params.take("gen_length", 128)))
