"""Stable-DiffCoder (arXiv:2601.15892): rate u = max(t, 1/B) a block, at least one mask in each; sum of CE / u over the
number of answer tokens. While the highest rate rises from 1e-3 (progress under 0.1): t itself, one mask a document at
least, no weight."""

import torch

from .adaptation import aligned, blocks, count


def loss(forwards, models):
    (f,) = forwards
    warm = f["progress"] < 0.1
    if warm:
        chance = f["draws"]["mask"][0]
        assert float(f["t"].max()) <= 1e-3
        hit, drawn = f["z"] == f["mask"], f["answer"] & (chance < f["t"])
        for cells in blocks(f, len(f["x"][0])):  # whole documents
            row, at = cells[0][0], [i for _, i in cells]
            assert torch.equal(hit[row, at], drawn[row, at]) if drawn[row, at].any() else hit[row, at].sum() == 1
    else:
        assert float(f["t"].min()) >= 1 / f["block"]
        assert all(count(f, cells) >= 1 for cells in blocks(f, f["block"]))
    terms, each = aligned(f, lambda row, i: 1.0 if warm else 1.0 / f["t"][row, i])
    return sum(w * value for w, value in terms) / f["answer"].sum(), each
