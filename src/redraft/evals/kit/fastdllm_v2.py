"""Fast-dLLM v2's generate, as published with the model, and its training forward."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ...methods import make
from ...objectives import CrossEntropy, Objective, PerToken, Shifted, TwoStream, Uniform
from ...objectives.policies import Complementary
from ...parts.canvas.fixed import Fixed
from ...parts.stop.eos import Eos
from ..conform import Case, Mismatch, Params, Run
from ..conform_train import TrainCase, seeded
from ._logits import Session, everything, ids_of
from ._prompts import prompts
from ._recorded import RecordedDraws, answer, losses, rows, view
from .masks import each, two_stream

IGNORED = -100  # a label that is not learned
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


def training(case: TrainCase) -> dict[str, Tensor]:
    """One seeded batch: a mask and its complement, both streams, predictions one row ahead of their targets."""
    masks = each(case, r"train_mask_L(\d+)_B(\d+)", lambda m: two_stream(int(m[1]), int(m[2])))
    said = re.search(r"manual_seed\((\d+)\)", str(case.case.meta["note"]))
    if said is None:
        raise Mismatch("the note does not say how the noise was seeded")
    block, clean, labels = int(case.entry("bd_size")), ids_of(case.case, "plain"), case.take("train_labels_in")
    learned = labels != IGNORED
    if not torch.equal(clean[learned], labels[learned]):
        raise Mismatch("train_labels_in differs from the ids where it is learned")
    model, width = case.case.model(), clean.shape[1]
    ours = Objective(
        times=Uniform(block, low=1e-3),
        layout=TwoStream(block),
        target=Shifted(),
        term=CrossEntropy(subs=False),
        normaliser=PerToken("learned"),
        replicas=Complementary(),
    )
    num = clean.numel() // block
    with seeded(int(said[1])):
        draws = RecordedDraws(
            {"time": torch.rand(num).view(len(clean), -1), "mask": torch.rand(num, block).view(clean.shape)}
        )
    canvas, noised = ours.replicas.noise(ours, rows(clean, learned, torch.ones_like(learned)), draws, model.traits)
    shown = view(ours.layout, canvas, noised)
    logits = answer(model, shown)[:, :width]
    return masks | {
        "train_input_ids": shown.tokens,
        "train_labels": torch.where(noised.hit, canvas.tokens, IGNORED),
        "train_logits": logits,
        "loss_train": losses(ours, canvas, noised, logits, model.traits).loss,
    }


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
