"""LLaDA's SFT (GUIDELINES.md): sum over the answer's masks of CE / p / answer length, mean over rows; the prompt is clean."""

from .mdlm import summed


def loss(forwards, models):
    (f,) = forwards
    assert bool((f["z"] == f["x"])[~f["answer"]].all())
    lengths = f["answer"].sum(1)
    total, each, _ = summed(f, lambda row, i: 1.0 / f["t"][row, i] / lengths[row], subs=False)
    return total / int((lengths > 0).sum()), each


# 1 / p varies much
GRAMMAR_STEPS = 900
