"""A quick look at a model in training: accuracy by task with a plain threshold decoder of its own (no cache, whole
canvas)."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer

from ..evals import tasks
from ..models.backbone import Backbone, dense
from ..objectives.layouts import Canvas, Full


@torch.no_grad()
def decode(
    model: Backbone, prompts: list[list[int]], new: int, mask: int, sight: int, block: int = 32, threshold: float = 0.9
) -> tuple[list[list[int]], int]:
    """Answers of `new` ids each and the number of forwards; columns above the threshold commit, at least one a
    forward."""
    rows, width = len(prompts), max(map(len, prompts)) + new
    tokens, column = torch.zeros(rows, width, dtype=torch.int64), torch.arange(width)
    start = torch.tensor([[len(p)] for p in prompts])
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
    answer = (column >= start) & (column < start + new)
    tokens[answer] = mask
    given = Canvas(tokens, column < start + new, answer, torch.zeros_like(answer), torch.zeros(rows, dtype=torch.int64))
    view = Full(sight).lay(given, tokens, answer)
    attend, open_, forwards = dense(view.mask(), rows), answer.clone(), 0
    while bool(open_.any()):
        forwards += 1
        first = torch.where(open_, column, width).amin(1, keepdim=True)
        inside = open_ & ((column - start) // block == (first - start) // block)
        hidden = model(model.embed(tokens.flatten()), column.repeat(rows), attend).view(rows, width, -1)
        logits = model.head(hidden[inside]).float()
        logits[:, mask] = float("-inf")
        prob, token = logits.softmax(-1).max(-1)
        conf, best = torch.full((rows, width), -1.0), tokens.clone()
        conf[inside], best[inside] = prob, token
        pick = inside & ((conf > threshold) | (column == conf.argmax(1, keepdim=True)))
        tokens = torch.where(pick, best, tokens)
        open_ &= ~pick
    return [tokens[r, len(p) : len(p) + new].tolist() for r, p in enumerate(prompts)], forwards


def accuracy(
    model: Backbone, tokenizer: Tokenizer, name: str, limit: int, mask: int, sight: int, seed: int = 1, block: int = 32
) -> tuple[float, float]:
    """Share of correct answers, and forwards per batch of at most 64."""
    task, eos = tasks.get(name), tokenizer.token_to_id("<|eos|>")
    right, total, count = 0, 0, 0
    for low in range(0, limit, 64):
        problems = [task.problem(seed, i) for i in range(low, min(low + 64, limit))]
        new = max(p.max_new_tokens for p in problems)
        answers, forwards = decode(model, [tokenizer.encode(p.prompt).ids for p in problems], new, mask, sight, block)
        total, count = total + forwards, count + 1
        for problem, ids in zip(problems, answers, strict=True):
            text = tokenizer.decode(ids[: ids.index(eos)] if eos in ids else ids)
            right += task.correct(problem, text)
    return right / limit, total / count
