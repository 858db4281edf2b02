"""Diffusion in Diffusion (arXiv:2601.13599): BD3-LM's bound at every block size, sum over masks of CE / t over the number
of answer tokens; one t for a block."""

from .adaptation import aligned


def loss(forwards, models):
    (f,) = forwards
    terms, each = aligned(f, lambda row, i: 1.0 / f["t"][row, i])
    return sum((w * value for w, value in terms), f["out"].new_zeros(())) / f["answer"].sum(), each
