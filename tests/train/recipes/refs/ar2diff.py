"""AR2Diff (arXiv:2401.17181): mean cross entropy of the masked target tokens, aligned, every token sees every token."""

from .adaptation import aligned, mean


def loss(forwards, models):
    (f,) = forwards
    view = f["view"]
    there = view["document"] >= 0
    same = view["document"][:, :, None] == view["document"][:, None, :]
    assert bool(view["sees"][same & there[:, :, None] & there[:, None, :]].all())
    terms, each = aligned(f)
    return mean([value for _, value in terms]), each
