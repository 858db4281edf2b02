"""DiffusionBERT (arXiv:2211.15029). alpha_i(t) = clip(1 - t + 0.3 sin(pi t) f_i, 0, 0.999), f_i = log(count + 1) / max,
less the sentence's mean. KL of one step of T = 2048 between the true posterior and the network's: the posterior gives a
masked token back with probability r = (alpha(t - 1/T) - alpha(t)) / (1 - alpha(t)), true token x against p: both written
out as distributions over {back as v, still masked}. Plus 0.01 cross entropy; by the number of tokens."""

import math

import torch

GRAMMAR_STEPS = 600  # the step KL all but ignores early times


def loss(forwards, models):
    (f,) = forwards
    log = [math.log(c + 1) for c in f["token_counts"]]
    each, total = torch.full(f["x"].shape, float("nan")), 0.0
    (chance,) = f["draws"]["mask"]
    for row, i in f["answer"].nonzero().tolist():
        mine = (f["valid"][row] & (f["document"][row] == f["document"][row, i])).nonzero()[:, 0].tolist()
        freq = (log[int(f["x"][row, i])] - sum(log[int(f["x"][row, j])] for j in mine) / len(mine)) / max(log)
        alpha = [min(max(1 - t + 0.3 * math.sin(math.pi * t) * freq, 0), 0.999) for t in
                 (float(f["t"][row, i]), max(float(f["t"][row, i]) - 1 / 2048, 0))]  # fmt: skip
        masked = bool(f["z"][row, i] == f["mask"])
        assert masked == (float(chance[row, i]) < 1 - alpha[0]) or abs(float(chance[row, i]) - 1 + alpha[0]) < 1e-6
        if not masked:
            continue
        scores = f["out"][row, i].clone()
        scores[f["mask"]] = -float("inf")
        p = scores.double().softmax(0)
        x, back = f["x"][row, i], (alpha[1] - alpha[0]) / (1 - alpha[0])
        # the true posterior puts `back` on x and 1 - back on the mask, the network's p_v back on v and the same on the mask
        kl = back * (torch.log(torch.tensor(back)) - torch.log(p[x] * back)) if back > 0 else 0 * p[x]
        each[row, i] = -p[x].log().detach()
        total = total + kl - 0.01 * p[x].log()
    return total / f["answer"].sum(), each
