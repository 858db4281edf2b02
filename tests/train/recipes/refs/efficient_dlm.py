"""Efficient-DLM (arXiv:2512.14067, NeMo Automodel's masks): in each block exactly round(t n) of its n answer tokens are
masked; sum of CE / t over the number of answer tokens; aligned."""

from .adaptation import aligned, blocks, count


def loss(forwards, models):
    (f,) = forwards
    for cells in blocks(f, f["block"]):
        t = float(f["t"][cells[0]])
        assert abs(count(f, cells) - t * len(cells)) <= 0.5 + 1e-4
    terms, each = aligned(f, lambda row, i: 1.0 / f["t"][row, i])
    return sum((w * value for w, value in terms), f["out"].new_zeros(())) / f["answer"].sum(), each
