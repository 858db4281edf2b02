"""BD3-LM (arXiv:2503.09573) as trained for the model in the box: three ways of noising, one loss.

Mean cross entropy of a document's masked tokens, then the mean over documents. The network's p(x0 | z) never gives the
mask token. What differs between the three programs is what was noised, not the loss.
"""

import torch


def loss(forwards, models):
    (f,) = forwards
    total, each = 0.0, torch.full(f["x"].shape, float("nan"))
    documents = 0
    for row in range(len(f["x"])):
        for document in range(int(f["document"][row].max()) + 1):
            mine = f["document"][row] == document
            if not (mine & f["answer"][row]).any():
                continue
            documents += 1
            masked = (mine & f["answer"][row] & (f["z"][row] == f["mask"])).nonzero()[:, 0]
            terms = []
            for i in masked.tolist():
                scores = f["out"][row, i].clone()
                scores[f["mask"]] = -float("inf")
                terms.append(-scores.log_softmax(0)[f["x"][row, i]])
                each[row, i] = terms[-1].detach()
            if terms:
                total = total + sum(terms) / len(terms)
    return total / documents, each
