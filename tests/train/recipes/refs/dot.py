"""Diffusion of Thought (arXiv:2402.07754), discrete: masked tokens' CE / t, by the answer's length, mean over documents.
The source and the thoughts before a start are visible; with probability `glance` the last places before it are noised
too. Scheduled sampling: in a document chosen with probability `own`, a token masked at the later time and visible at t is
drawn from the network's prediction at the later time (inverse distribution function)."""

import dataclasses

import torch

GRAMMAR_STEPS = 700  # half the documents are noised in their last thoughts only


def small(program):
    """Own tokens often enough to be seen in a test."""
    masking = dataclasses.replace(program.objective.masking, glance=0.5, tail=2)
    return type(program)(dataclasses.replace(program.objective, masking=masking), own=program.own * 4)


def loss(forwards, models):
    f, draws = forwards[-1], forwards[-1]["draws"]
    own, t = 0.2 * f["progress"], f["t"]
    start, whole, glance, later, picked, mask, guess = (
        draws[name][0] for name in ("start", "whole", "glance", "later", "own", "mask", "guess")
    )
    each, rows, wanted = torch.full(f["x"].shape, float("nan")), {}, []
    for row, i in f["answer"].nonzero().tolist():
        mine = (f["answer"][row] & (f["document"][row] == f["document"][row, i])).nonzero()[:, 0].tolist()
        index = mine.index(i)
        first = 0 if whole[row, i] < 0.5 else int(start[row, i] * len(mine))
        first -= 2 if glance[row, i] < 0.5 else 0
        late = t[row, i] + (1 - t[row, i]) * later[row, i]
        state = ["masked" if index >= first and mask[row, i] < time else "seen" for time in (t[row, i], late)]
        if state == ["seen", "masked"] and picked[row, i] < own:
            wanted.append((row, i))
        else:
            assert f["z"][row, i] == (f["mask"] if state[0] == "masked" else f["x"][row, i])
        one = rows.setdefault((row, int(f["document"][row, i])), [])
        one.append(torch.zeros(()))
        if state[0] == "masked":
            scores = f["out"][row, i].clone()
            scores[f["mask"]] = -float("inf")
            nll = -scores.log_softmax(0)[f["x"][row, i]]
            each[row, i] = nll.detach()
            one[-1] = nll / t[row, i]
    assert len(forwards) == (2 if wanted else 1)
    for row, i in wanted:
        scores = forwards[0]["out"][row, i].detach().double()
        scores[f["mask"]] = -float("inf")
        cumulated = scores.softmax(0).cumsum(0)
        drawn = int((cumulated < guess[row, i]).sum())
        assert f["z"][row, i] == drawn or abs(float(cumulated[drawn] - guess[row, i])) < 1e-6
    return sum(sum(one) / len(one) for one in rows.values()) / len(rows), each
