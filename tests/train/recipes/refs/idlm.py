"""I-DLM (arXiv:2604.11035; NeMo Automodel's IDLMLoss with auto balance): the answer is all masks; both halves predict the
next token; CE_noised + (CE_noised / CE_clean, no gradient) x CE_clean."""

from .adaptation import masked, mean, next_token, shifted


def loss(forwards, models):
    (f,) = forwards
    assert bool((f["z"] == f["mask"])[f["answer"]].all())
    terms, each = shifted(f, masked(f), lambda row, i: f["out"][row, i - 1])
    main, clean = mean(terms), next_token(f)
    return main + (main / clean).detach() * clean, each


BOUND = False
# all masked: a block's tokens do not know one another, nor does the row before the next block's first token, so five of
# the eight answer tokens cost log 2 whatever the network: 5/8 log 2 = 0.433
NLL = 0.46
