"""LLaDA2.0 (arXiv:2512.15745): rates in [0.3, 0.8], each row with its mask and the complement, mean cross entropy of the
masks, aligned; at the end plus the mean entropy over the masks predicted right (CAP)."""

from .adaptation import aligned, masked, mean


def loss(forwards, models):
    (f,) = forwards
    half = len(f["x"]) // 2
    assert float(f["t"][:half].min()) >= 0.3 and float(f["t"][:half].max()) <= 0.8
    assert bool(((f["z"] == f["mask"])[:half] ^ (f["z"] == f["mask"])[half:])[f["answer"][:half]].all())
    terms, each = aligned(f)
    total = mean([value for _, value in terms])
    if f["progress"] == 1.0:
        found = []
        for row, i in masked(f):
            scores = f["out"][row, i].clone()
            scores[f["mask"]] = -float("inf")
            if int(scores.argmax()) == int(f["x"][row, i]):
                p = scores.softmax(0)
                p = p[p > 0]
                found.append(-(p * p.log()).sum())
        total = total + mean(found)
    return total, each
