"""Fast-dLLM v2's generate, as published with the model."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ...methods import make
from ...parts.canvas.fixed import Fixed
from ...parts.stop.eos import Eos
from ..conform import Case, Params, Run
from ._logits import Session, everything, ids_of
from ._prompts import prompts

FUNCTIONS = ("generate", "Fast_dLLM_QwenForCausalLM.generate")


def logits(case: Case) -> dict[str, Tensor]:
    model = case.model()

    def block_of(name: str) -> int:
        found = re.search(r"_b(\d+)$", name)
        return int(found[1]) if found else 32

    cached = ("logits_block2_cached", "logits_sub_")
    out = everything(case, model, block_of, skip=cached)
    tensors = case.tensors()
    # a clean first block, its K/V stored, and a masked second one
    ids = torch.cat((ids_of(case, "plain")[:, :32], ids_of(case, "masked")[:, 32:]), 1)
    if "logits_block2_cached" in tensors:
        session = Session(model, 32)
        session.forward(ids[:, :32], write=True)
        out["logits_block2_cached"] = session.forward(ids, run=slice(32, 64), read=slice(0, 32))
    for name in tensors:
        found = re.fullmatch(r"logits_sub_(\d+)_(\d+)_blockcache", name)
        if found:
            start, end = int(found[1]), int(found[2])
            edited = ids.clone()
            edited[:, start:end] = tensors[f"ids_sub_{start}_{end}_edited"]
            session = Session(model, 32)
            session.forward(ids, write=True)
            out[name] = session.forward(edited, run=slice(start, end), read=slice(0, ids.shape[1]), write=True)
    return out


def generate(case: Case, params: Params) -> Run:
    params.take("temperature", 0, only=[0, 0.0])
    params.take("top_p")  # without effect at temperature 0
    block, new = params.take("block_size", 32), params.take("max_new_tokens")
    prompt = len(case.meta["prompt_ids"][0])
    method = make(
        "fast_dllm_v2",
        {
            "threshold": float(params.take("threshold", 1)),
            "sub_block": params.take("small_block_size", 8),
            "block_cache": params.take("use_block_cache", False),
        },
        {"canvas": Fixed(), "stop": Eos("now", whole=True)},
    )
    model = case.model(block=block, eos_id=params.take("stop_token", 151645))
    # whole blocks, and the token that the last one gives to the next
    total = (prompt // block + new // block) * block + 1
    lead = frozenset(range(0, total + 1, block))
    return Run(model, method, prompts(case.meta, total - prompt), unlisted=lead, untraced=int(prompt > block))
