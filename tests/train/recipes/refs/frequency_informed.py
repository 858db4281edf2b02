"""Frequency-informed masking (arXiv:2509.05056): token i is masked with probability min(1, rate w_i / mean w), w = ((rank +
1) / V)^power, rank 0 the most frequent, the mean over its document; the loss is MDLM's bound with the document's own
rate: sum over masked of -alpha' / (1 - alpha) CE, by the number of tokens. Cosine: alpha = 1 - cos(pi/2 (1 - t)),
squeezed by 1e-4. The power grows from 0 to 0.02."""

import math

import torch

# a cosine of the time leaves few tokens masked at most times: slower, and a likelihood bound with its own noise
GRAMMAR_STEPS = 800


def loss(forwards, models):
    (f,) = forwards
    counts = f["token_counts"]
    order = sorted(range(len(counts)), key=lambda v: (-counts[v], v))
    power = 0.02 * f["progress"]
    weight = [((order.index(v) + 1) / len(counts)) ** power for v in range(len(counts))]
    squeeze = 1 - 2e-4
    each, total = torch.full(f["x"].shape, float("nan")), 0.0
    (chance,) = f["draws"]["mask"]
    for row, i in f["answer"].nonzero().tolist():
        mine = (f["answer"][row] & (f["document"][row] == f["document"][row, i])).nonzero()[:, 0].tolist()
        mean = sum(weight[int(f["x"][row, j])] for j in mine) / len(mine)
        t = float(f["t"][row, i])
        angle = math.pi / 2 * (1 - t)
        alpha = squeeze * (1 - math.cos(angle)) + 1e-4
        slope = -squeeze * math.pi / 2 * math.sin(angle)
        rate = (1 - alpha) * weight[int(f["x"][row, i])] / mean
        hit = float(chance[row, i]) < rate
        assert hit == bool(f["z"][row, i] == f["mask"]) or abs(float(chance[row, i]) - rate) < 1e-6
        if not hit:
            continue
        scores = f["out"][row, i].clone()
        scores[f["mask"]] = -float("inf")
        nll = -scores.log_softmax(0)[f["x"][row, i]]
        each[row, i] = nll.detach()
        total = total + -slope / (1 - alpha) * nll
    return total / f["answer"].sum(), each
