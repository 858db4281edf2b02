"""Next token: mean of -log p(x_i | x_<i) over the answers' tokens that have something before them."""

from .adaptation import mean, shifted


def loss(forwards, models):
    (f,) = forwards
    assert bool((f["z"] == f["x"]).all())
    terms, each = shifted(f, f["answer"].nonzero().tolist(), lambda row, i: f["out"][row, i - 1])
    return mean(terms), each
