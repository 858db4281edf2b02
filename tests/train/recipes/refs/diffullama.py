"""DiffuLLaMA (arXiv:2410.17891): shifted; sum of CE / t by the number of predicted masks; who sees whom: causal, or opened
with probability r, which rises from 0 to 1 over the first fifth of the run."""

import torch

from .dream import before
from .mdlm import summed


def loss(forwards, models):
    (f,) = forwards
    v = f["view"]
    share = min(f["progress"] / 0.2, 1.0)
    there = (v["document"][:, :, None] == v["document"][:, None, :]) & (v["document"] >= 0)[:, :, None]
    causal = v["pos"][:, :, None] >= v["pos"][:, None, :]
    upper = there & ~causal
    assert bool(v["sees"][there & causal].all())
    assert float(v["sees"][upper].float().mean()) == share if share in (0.0, 1.0) else True
    total, each, count = summed(f, lambda row, i: 1.0 / f["t"][row, i], before(f), subs=False)
    return total / max(count, 1), each if count else torch.full(f["x"].shape, float("nan"))


GRAMMAR_STEPS = 1000
