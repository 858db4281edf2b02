"""Stable-DiffCoder (arXiv:2601.15892): rate u = max(t, 1/B) a block, at least one mask in each; sum of CE / u over the
number of answer tokens. While the highest rate rises (progress under 0.1), no weight."""

from .adaptation import aligned, blocks, count


def loss(forwards, models):
    (f,) = forwards
    assert float(f["t"].min()) >= 1 / f["block"]
    assert all(count(f, cells) >= 1 for cells in blocks(f, f["block"]))
    warm = f["progress"] < 0.1
    if warm:
        assert float(f["t"].max()) == 1 / f["block"]
    terms, each = aligned(f, lambda row, i: 1.0 if warm else 1.0 / f["t"][row, i])
    return sum(w * value for w, value in terms) / f["answer"].sum(), each
