"""What the refs of models adapted from autoregressive ones share: cross entropy by hand, and sums over listed targets."""

import torch


def nll(f, scores, target):
    """-log p(target); the mask is no answer."""
    scores = scores.clone()
    scores[f["mask"]] = -float("inf")
    return -scores.log_softmax(0)[target]


def masked(f):
    """(row, column) of the answer's masks."""
    return (f["answer"] & (f["z"] == f["mask"])).nonzero().tolist()


def aligned(f, weight=lambda row, i: 1.0):
    """([(weight, cross entropy)], each) over the masks, the output at a column predicts it."""
    each, terms = torch.full(f["x"].shape, float("nan")), []
    for row, i in masked(f):
        value = nll(f, f["out"][row, i], f["x"][row, i])
        each[row, i] = value.detach()
        terms.append((weight(row, i), value))
    return terms, each


def shifted(f, targets, output):
    """The same over `targets`; output(row, i) are the scores that predict a column. A document's first token has none."""
    each, terms = torch.full(f["x"].shape, float("nan")), []
    for row, i in targets:
        if f["place"][row, i] > 0:
            value = nll(f, output(row, i), f["x"][row, i])
            each[row, i] = value.detach()
            terms.append(value)
    return terms, each


def next_token(f):
    """Mean next-token cross entropy of the answers on the clean stream."""
    terms, _ = shifted(f, f["answer"].nonzero().tolist(), lambda row, i: f["clean"][row, i - 1])
    return mean(terms)


def mean(terms):
    return sum(terms) / len(terms) if terms else torch.zeros(())


def blocks(f, size):
    """Lists of (row, column): the answer columns of each block of each document."""
    found = {}
    for row, i in f["answer"].nonzero().tolist():
        key = (row, int(f["document"][row, i]), int(f["place"][row, i]) // size)
        found.setdefault(key, []).append((row, i))
    return list(found.values())


def count(f, cells):
    return sum(int(f["z"][row, i] == f["mask"]) for row, i in cells)
