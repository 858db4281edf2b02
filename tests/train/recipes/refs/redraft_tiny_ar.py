"""Next token: -log p(x_i | x_<i), read one row before; mean over a document's targets, then over documents. A
document's first token has nothing before it and is no target."""

import torch


def loss(forwards, models):
    (f,) = forwards
    each = torch.full(f["x"].shape, float("nan"))
    sums, documents = 0.0, 0
    for row in range(len(f["x"])):
        for document in range(int(f["document"][row].max()) + 1):
            mine = ((f["document"][row] == document) & f["answer"][row]).nonzero()[:, 0].tolist()
            targets = [i for i in mine if f["place"][row, i] > 0]
            terms = []
            for i in targets:
                scores = f["out"][row, i - 1].clone()
                scores[f["mask"]] = -float("inf")
                terms.append(-scores.log_softmax(0)[f["x"][row, i]])
                each[row, i] = terms[-1].detach()
            documents += bool(mine)
            sums = sums + (sum(terms) / len(terms) if terms else 0.0)
    return sums / documents, each
