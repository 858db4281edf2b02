"""E2D2 (arXiv:2510.22852): for each row -sum of log p over its masks by the number of its tokens, mean over rows, no 1/t;
every block that is all answer holds a mask; the decoder sees the encoder's earlier blocks and its own noised block."""

import torch

from .bd3lm import one_time_a_block, sees
from .mdlm import summed


def loss(forwards, models):
    (f,) = forwards
    size = f["block"]
    sees(f, size)
    one_time_a_block(f, size)
    for row in range(len(f["x"])):
        for start in range(0, f["x"].shape[1], size):
            cells = slice(start, start + size)
            if bool(f["answer"][row, cells].all()):
                assert bool((f["z"][row, cells] == f["mask"]).any())
    lengths = f["answer"].sum(1)
    total, each, _ = summed(f, lambda row, i: 1.0 / lengths[row])
    return total / torch.count_nonzero(lengths), each
