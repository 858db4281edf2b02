"""SDLM (arXiv:2509.24007; preprocess_sdlm.py): a group's slot k stands at place a + k and predicts a + k + 1; slot 0 holds
the true token, the others masks. Mean cross entropy over the slots whose target is in the answer."""

from .adaptation import mean, nll


def loss(forwards, models):
    (f,) = forwards
    view, terms = f["view"], []
    for row in range(len(f["x"])):
        column = {
            (int(f["document"][row, i]), int(f["place"][row, i])): i
            for i in range(f["x"].shape[1])
            if f["document"][row, i] >= 0
        }
        for j in range(view["tokens"].shape[1]):
            document, place = int(view["document"][row, j]), int(view["pos"][row, j])
            if view["stream"][row, j] != 0 or document < 0:
                continue
            here, target = column.get((document, place)), column.get((document, place + 1))
            assert int(view["tokens"][row, j]) in (f["mask"], None if here is None else int(f["x"][row, here]))
            if target is not None and f["answer"][row, target]:
                terms.append(nll(f, view["logits"][row, j], f["x"][row, target]))
    assert terms
    return mean(terms), None


BOUND = False
