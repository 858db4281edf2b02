"""DiffusionGemma: uniform noise, t in [0.001, 0.999]; mean cross entropy over all canvas (answer) tokens, told half the
time what was predicted first, plus the encoder's next-token loss on the clean answer (mean over its tokens that have one
before them)."""

import torch

NLL = 0.6  # mean over all noise levels; at high ones only the prompt is left to go by
GRAMMAR_STEPS = 600


def loss(forwards, models):
    f = forwards[-1]
    picked = f["draws"]["self_condition"][0] < 0.5
    assert len(forwards) == (2 if bool((picked & f["answer"]).any()) else 1)
    keep, chance = f["draws"]["mask"][0] >= f["t"], f["draws"]["token"][0]
    drawn = torch.where(keep | ~f["answer"], f["x"], (chance.double() * f["vocab"]).long())
    assert torch.equal(f["z"][f["answer"]], drawn[f["answer"]])
    each, main, after = torch.full(f["x"].shape, float("nan")), [], []
    for row, i in f["answer"].nonzero().tolist():
        nll = -f["out"][row, i].log_softmax(0)[f["x"][row, i]]
        each[row, i] = nll.detach()
        main.append(nll)
        if f["place"][row, i] > 0:
            after.append(-f["clean"][row, i - 1].log_softmax(0)[f["x"][row, i]])
    return sum(main) / len(main) + sum(after) / len(after), each
