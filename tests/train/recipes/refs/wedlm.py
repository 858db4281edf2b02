"""WeDLM (arXiv:2512.22737; finetune/src): in each block round(p n) masks; L_m = sum of CE / p over sum of 1 / p, aligned;
L_ar = mean next-token cross entropy on the clean stream; (L_m + L_ar) / 2."""

from .adaptation import aligned, blocks, count, next_token


def loss(forwards, models):
    (f,) = forwards
    for cells in blocks(f, 4):  # the recipe's block of 32, as small as the tests make it
        assert abs(count(f, cells) - float(f["t"][cells[0]]) * len(cells)) <= 0.5 + 1e-4
    terms, each = aligned(f, lambda row, i: 1.0 / max(float(f["t"][row, i]), 1e-8))
    main = sum(w * value for w, value in terms) / sum(w for w, _ in terms) if terms else 0.0
    return (main + next_token(f)) / 2, each
