"""SDAR (arXiv:2510.06303): BD3-LM's bound, sum over masks of CE / t over the number of answer tokens; aligned; one t for
a document."""

from .adaptation import aligned


def loss(forwards, models):
    (f,) = forwards
    for row in range(len(f["x"])):
        for document in range(int(f["document"][row].max()) + 1):
            assert len(set(f["t"][row][f["document"][row] == document].tolist())) == 1
    terms, each = aligned(f, lambda row, i: 1.0 / f["t"][row, i])
    return sum(w * value for w, value in terms) / f["answer"].sum(), each
