"""CARD (arXiv:2601.22031): sum over all answer tokens of w_n CE(x_n | z_<n), read one row before, over their number.

floor(t L) masks lie in the last 1.5 t L answer tokens; w_n = 1 / (1 + sum over masks j < n of 0.5^(n - 1 - j)).
"""

import math

import torch

from .adaptation import nll


def loss(forwards, models):
    (f,) = forwards
    each, total = torch.full(f["x"].shape, float("nan")), f["out"].new_zeros(())
    for row in range(len(f["x"])):
        for document in range(int(f["document"][row].max()) + 1):
            mine = (f["document"][row] == document).nonzero()[:, 0].tolist()
            answer = [i for i in mine if f["answer"][row, i]]
            masks = [i for i in mine if f["z"][row, i] == f["mask"]]
            if not answer:
                continue
            t, num = float(f["t"][row, mine[0]]), len(answer)
            assert len(masks) == math.floor(t * num + 1e-5)
            assert all(answer.index(j) >= num - 1.5 * t * num - 1e-4 for j in masks)
            for n in answer:
                if f["place"][row, n] == 0:
                    continue
                value = nll(f, f["out"][row, n - 1], f["x"][row, n])
                each[row, n] = value.detach()
                mass = sum(0.5 ** (n - 1 - j) for j in masks if j < n)
                total = total + value / (1.0 + mass)
    return total / f["answer"].sum(), each


BOUND = False
