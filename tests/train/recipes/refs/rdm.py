"""RDM (arXiv:2302.05737), T = 50: t in 0 ... T - 1, masked with probability (t + 1) / T; every canvas at two times, the
lower one's masks inside the higher one's. Masked columns: 0.9 (1 - t / T) CE + 0.1 (-mean over the vocabulary of log p),
mean over a document's answer (masked or not), mean over documents; the softmax has the mask in it."""

import torch

T = 50


def weight(t):
    return 1 - t / T


def loss(forwards, models, smoothing=0.1, weight=weight):
    (f,) = forwards
    half = len(f["x"]) // 2
    high, low = (z == f["mask"] for z in (f["z"][:half], f["z"][half:]))
    assert torch.equal(f["x"][:half], f["x"][half:]) and bool((f["t"][:half] >= f["t"][half:]).all())
    nested = (f["t"][:half] > f["t"][half:]) & f["answer"][:half]
    assert not bool((low & ~high & nested).any())
    each, total, found = torch.full(f["x"].shape, float("nan")), f["out"].new_zeros(()), 0
    for row in range(2 * half):
        answer = f["answer"][row].nonzero()[:, 0].tolist()
        if not answer:
            continue
        found += 1
        for i in answer:
            if f["z"][row, i] != f["mask"]:
                continue
            t = round(float(f["t"][row, i]) * T) - 1
            log_p = f["out"][row, i].log_softmax(0)
            nll = -log_p[f["x"][row, i]]
            each[row, i] = nll.detach()
            value = (1 - smoothing) * weight(t) * nll - smoothing * log_p.mean()
            total = total + value / len(answer)
    return total / found, each


FRACTION = 0.7  # label smoothing leaves a floor
