"""Duo (arXiv:2506.10892): in the first fifth of the run w = a onehot(x) + s eps, log(s^2 / a^2) = gamma = -3.5 + 1.75 t, a^2 +
s^2 = 1; the network sees softmax(w / tau), tau = 0.1 (falling later), the loss has z = argmax w; it is UDLM's with alpha =
(V P - 1) / (V - 1), P the probability that x stays the argmax. Afterwards it is UDLM."""

import math

import torch

from .udlm import density
from .udlm import loss as udlm

GRID = torch.linspace(-9, 30, 20001, dtype=torch.float64)


def stays(gamma, vocab):
    """P(argmax = x): the clean entry's Gaussian above V - 1 others, by a plain sum over its value."""
    mean = math.exp(-gamma / 2)
    below = (0.5 * (1 + torch.erf(GRID / math.sqrt(2)))) ** (vocab - 1)
    density = torch.exp(-((GRID - mean) ** 2) / 2) / math.sqrt(2 * math.pi)
    return float((below * density).sum() * (GRID[1] - GRID[0]))


def alpha_of(t, vocab):
    return (vocab * stays(-3.5 + 1.75 * t, vocab) - 1) / (vocab - 1)


def loss(forwards, models):
    (f,) = forwards
    if f["progress"] >= 0.2:
        return udlm(forwards, models)
    vocab = f["vocab"]
    gamma = (-3.5 + 1.75 * f["t"]).double()
    normal = math.sqrt(2) * torch.erfinv(2 * f["draws"]["gauss"][0].double() - 1)
    clean = torch.nn.functional.one_hot(f["x"], vocab)
    w = torch.sigmoid(-gamma).sqrt()[..., None] * clean + torch.sigmoid(gamma).sqrt()[..., None] * normal
    answer = f["answer"]
    assert torch.equal(f["z"][answer], w.argmax(-1)[answer]) and torch.equal(f["z"][~answer], f["x"][~answer])
    torch.testing.assert_close(f["soft"][answer].double(), (w / 0.1).softmax(-1)[answer], rtol=1e-3, atol=1e-5)
    assert torch.equal(f["soft"][~answer], clean[~answer].float())
    each, total = torch.full(f["x"].shape, float("nan")), f["out"].new_zeros(())
    for row, i in answer.nonzero().tolist():
        t = float(f["t"][row, i])
        slope = (alpha_of(t + 1e-5, vocab) - alpha_of(t - 1e-5, vocab)) / 2e-5
        value = density(f["out"][row, i], int(f["x"][row, i]), int(f["z"][row, i]), alpha_of(t, vocab), slope)
        each[row, i] = value.detach()
        total = total + value
    return total / answer.sum(), each


STEPS = 360
GRAMMAR_STEPS = 500
NLL = 1.0
