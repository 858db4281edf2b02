"""SBD (arXiv:2509.04185): mean cross entropy of the masks of the noised stream, aligned, plus that of the next token on
the causal clean one."""

from .adaptation import aligned, mean, next_token


def loss(forwards, models):
    (f,) = forwards
    terms, each = aligned(f)
    return mean([value for _, value in terms]) + next_token(f), each
