"""One Token Is Enough (arXiv:2601.19657): sum over masked of CE / t by the number of tokens, in a forward in which each
document has one column more that sees itself alone and is seen by the whole document."""

import torch

BOUND = False  # the bound would be taken without the sink


def loss(forwards, models):
    (f,) = forwards
    view = f["view"]
    for row in range(len(f["x"])):
        for document in f["document"][row][f["answer"][row] & (f["z"][row] == f["mask"])].unique().tolist():
            there = view["document"][row] == document  # documents without a target may be left out of the forward
            (j,) = (there & (view["stream"][row] == 2)).nonzero()[:, 0].tolist()
            assert view["sees"][row, j].nonzero().tolist() == [[j]]
            assert torch.equal(view["sees"][row, :, j], there) and view["tokens"][row, j] == f["eos"][0]
    each, total = torch.full(f["x"].shape, float("nan")), 0.0
    for row, i in (f["answer"] & (f["z"] == f["mask"])).nonzero().tolist():
        scores = f["out"][row, i].clone()
        scores[f["mask"]] = -float("inf")
        nll = -scores.log_softmax(0)[f["x"][row, i]]
        each[row, i] = nll.detach()
        total = total + nll / f["t"][row, i]
    return total / f["answer"].sum(), each
