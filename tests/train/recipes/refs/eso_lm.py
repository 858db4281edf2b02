"""Eso-LM, variant B (arXiv:2506.01928), alpha_0 = 0.25. Diffusion rows: alpha = 0.25 (1 - 0.999 t), -alpha' / (1 - alpha) CE
of masked tokens, over the number of answer tokens of these rows; columns in order known, then masked, each part in a drawn
order, and a column sees itself and what comes before. Sequential rows: tokens are known with probability 0.25; CE of the
masked ones over these rows' answer tokens; known ones first in drawn order, masked ones from left to right, a masked one
sees all clean tokens before it. Both are added; the mask is no answer."""

TOP = 0.25


def places(f, row, document, drawn, shuffled):
    """column -> place in the order."""
    mine = [i for i in range(f["x"].shape[1]) if f["document"][row, i] == document]
    masked = [i for i in mine if f["answer"][row, i] and f["z"][row, i] == f["mask"]]
    known = sorted((i for i in mine if i not in masked), key=lambda i: float(drawn[row, i]))
    masked.sort(key=(lambda i: float(drawn[row, i])) if shuffled else None)
    return {i: n for n, i in enumerate([*known, *masked])}


def check(f, drawn, two):
    view = f["view"]
    for row in range(len(f["x"])):
        for document in range(int(f["document"][row].max()) + 1):
            place = places(f, row, document, drawn, shuffled=not two)
            there = (view["document"][row] == document).nonzero()[:, 0].tolist()
            for a in there:
                for b in there:
                    i, j = int(view["source"][row, a]), int(view["source"][row, b])
                    noised = two and view["stream"][row, a] == 0
                    if noised:
                        wanted = a == b or (view["stream"][row, b] == 1 and place[j] < place[i])
                    else:
                        wanted = place[j] <= place[i] and view["stream"][row, a] == view["stream"][row, b]
                    assert bool(view["sees"][row, a, b]) == wanted


def loss(forwards, models):
    total = 0.0
    for k, f in enumerate(forwards):
        two = bool((f["view"]["stream"] == 1).any()) or bool((f["t"] == 1 - TOP).all())
        check(f, f["draws"]["order"][k], two)
        part = f["out"].new_zeros(())
        for row, i in (f["answer"] & (f["z"] == f["mask"])).nonzero().tolist():
            scores = f["out"][row, i].clone()
            scores[f["mask"]] = -float("inf")
            nll = -scores.log_softmax(0)[f["x"][row, i]]
            t = float(f["t"][row, i])
            alpha = TOP * (1 - 0.999 * t)
            part = part + nll * (1.0 if two else TOP * 0.999 / (1 - alpha))
        total = total + part / f["answer"].sum()
    return total, None  # each forward has some of the rows


BOUND = False
NLL = 1.2
