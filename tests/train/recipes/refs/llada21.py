"""LLaDA2.1 (arXiv:2602.08676): mean cross entropy over the answer, aligned: its masks, its wrong tokens and the right
ones."""

import torch

from .adaptation import mean, nll


def loss(forwards, models):
    (f,) = forwards
    assert not bool((f["z"] != f["x"])[~f["answer"]].any())
    each, terms = torch.full(f["x"].shape, float("nan")), []
    for row, i in f["answer"].nonzero().tolist():
        terms.append(nll(f, f["out"][row, i], f["x"][row, i]))
        each[row, i] = terms[-1].detach()
    return mean(terms), each
