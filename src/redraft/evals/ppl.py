"""Perplexity of held-out text under any model, with the standard error of its own estimate.

Documents longer than the context are read in windows; a window scores the tokens that no earlier one scored, given as
many tokens before them as `context` and `stride` leave. What the tokenizer puts before a text, prompts and system turns
are given and never scored; nor is a first token that no output predicts (shifted models without such a beginning).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..core.errors import BadInput
from ..models.model import Model
from ..objectives import Canvas
from ..objectives.likelihood import LogProbEstimator, estimator_of
from ..recipes.recipe import Rows
from ..train.data import Data, Document, Special, open_source

CONTEXT = 1024  # where the model names no context of its own
TOKENS = 4096  # tokens of one forward
BOUNDS = {"exact": "exact", "bound": "upper bound", "approximation": "approximate upper bound"}


@dataclass(frozen=True)
class Window:
    """Part of a document: its number, ids, and which are scored."""

    document: int
    tokens: list[int]
    answer: list[bool]


@dataclass
class Sums:
    """What a document's windows add up to: nats, the variance of the estimate, tokens."""

    nats: float = 0.0
    variance: float = 0.0
    tokens: int = 0


def perplexity(
    model: Model,
    data: str | Path | Sequence[str | Path] | Data,
    *,
    estimator: str | LogProbEstimator | None = None,
    samples: int = 32,
    limit: int | None = None,
    seed: int = 0,
    context: int | None = None,
    stride: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Negative log-likelihood per token of a text file, jsonl or parquet under a model.

    estimator  a name of `ESTIMATORS` or a value; None: the model's own (exact for autoregressive models)
    samples    noisings of each window; the error falls with its square root
    limit      documents, the first ones; None: all
    context    longest window in tokens, None: the model's, else 1024; stride: tokens scored by each further window,
               None: the context
    on_progress (windows done, windows)

    Returns {nll_per_token, error, bits_per_token, perplexity, perplexity_error, bound, estimator, tokens, documents,
    document_error, forwards, samples, seed, context, stride, model, seconds}. error: the standard error of
    nll_per_token that comes from the estimator's draws, None where `samples` is too small to tell; document_error: the
    one that comes from which documents were scored, None for a single one. Errors: BadInput, UnknownName, Unsupported.
    """
    started = time.perf_counter()
    name, chosen = (
        estimator_of(estimator, model.traits)
        if estimator is None or isinstance(estimator, str)
        else (type(estimator).__name__, estimator)
    )
    if samples < 1:
        raise BadInput(f"expected at least 1 sample, found {samples}; ask for more, 32 is usual.")
    if limit is not None and limit < 1:
        raise BadInput(f"expected a limit of at least 1 document, found {limit}; raise it.")
    context, stride = _widths(model, context, stride)
    documents = _documents(model, data, limit, seed)
    windows = [w for d in documents for w in windows_of(d, context, stride)]
    windows.sort(key=lambda w: len(w.tokens))
    found: dict[int, Sums] = {}
    forwards, done, kind = 0, 0, "exact"
    for batch in _batches(windows):
        rows = max(TOKENS // len(batch[-1].tokens), 1)
        one = chosen.estimate(model.backbone, _canvas(batch, model), model.traits, seed, samples, rows)
        kind = one.kind if one.kind != "exact" and kind != "approximation" else kind
        forwards += int(one.num_forwards.sum())
        columns = (one.value.tolist(), one.error.tolist(), one.num_tokens.tolist())
        for window, value, error, tokens in zip(batch, *columns, strict=True):
            sums = found.setdefault(window.document, Sums())
            sums.nats -= value
            sums.variance += error**2
            sums.tokens += tokens
        done += len(batch)
        if on_progress is not None:
            on_progress(done, len(windows))
    scored = [one for one in found.values() if one.tokens]
    tokens = sum(one.tokens for one in scored)
    if not tokens:
        raise BadInput("the data has no token to score; give documents of at least two tokens.")
    nll = sum(one.nats for one in scored) / tokens
    error = math.sqrt(sum(one.variance for one in scored)) / tokens
    return {
        "nll_per_token": nll,
        "error": _finite(error),
        "bits_per_token": nll / math.log(2),
        "perplexity": _exp(nll),
        "perplexity_error": _finite(_exp(nll) * error),
        "bound": BOUNDS[kind],
        "estimator": name,
        "tokens": tokens,
        "documents": len(scored),
        "document_error": spread(scored),
        "forwards": forwards,
        "samples": None if kind == "exact" else samples,
        "seed": seed,
        "context": context,
        "stride": stride,
        "model": model.name,
        "seconds": round(time.perf_counter() - started, 2),
    }


def spread(scored: Sequence[Sums]) -> float | None:
    """The standard error of nats per token over documents, which are of unequal length: a ratio's."""
    num, tokens = len(scored), sum(one.tokens for one in scored)
    if num < 2:
        return None
    mean = sum(one.nats for one in scored) / tokens
    off = sum((one.nats - mean * one.tokens) ** 2 for one in scored)
    return math.sqrt(off * num / (num - 1)) / tokens


def windows_of(document: Document, context: int, stride: int) -> Iterator[Window]:
    """Windows of at most `context` tokens that score each token of the answer once. A window behind the first keeps one
    token at least of what is scored already, so that a shifted model scores what others score."""
    stop, size = 0, len(document)
    while stop < size:
        scored = stop
        start = 0 if not stop else max(stop - max(context - stride, 1), 0)
        stop = min(start + context, size)
        answer = [document.answer[i] and i >= scored for i in range(start, stop)]
        if any(answer):
            yield Window(document.number, document.tokens[start:stop], answer)


def _widths(model: Model, context: int | None, stride: int | None) -> tuple[int, int]:
    limit = model.traits.context
    context = (limit or CONTEXT) if context is None else context
    if context < 2 or (limit and context > limit):
        most = f" and at most the model's {limit}" if limit else ""
        raise BadInput(f"expected a context of at least 2 tokens{most}, found {context}; change --context.")
    stride = context if stride is None else stride
    if not 1 <= stride <= context:
        raise BadInput(f"expected a stride from 1 to the context of {context}, found {stride}; change --stride.")
    return context, stride


def _documents(
    model: Model, data: str | Path | Sequence[str | Path] | Data, limit: int | None, seed: int
) -> list[Document]:
    if model.tokenizer is None:
        raise BadInput(
            f"{model.name or 'this model'} has no tokenizer, so its text cannot be scored; take another model."
        )
    if not isinstance(data, Data):
        paths = (data,) if isinstance(data, str | Path) else tuple(data)
        data = Data(tuple(str(path) for path in paths), part="all", shuffle=False)
    eos = model.traits.eos[0] if model.traits.eos else 0
    special = Special(eos=eos, pad=0, mask=model.traits.mask)
    source: Any = open_source(data, model.tokenizer, special, Rows(long="truncate"), seed)
    if limit is None and not hasattr(source, "__len__"):
        raise BadInput("a stream has no end to score; give a limit of documents.")
    num = len(source) if hasattr(source, "__len__") else int(limit or 0)
    out: list[Document] = source.read(0, num if limit is None else min(num, limit))
    return out


def _batches(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Windows of like length, TOKENS tokens or one row at a time."""
    batch: list[Window] = []
    for window in windows:
        if batch and (len(batch) + 1) * len(window.tokens) > TOKENS:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _canvas(batch: Sequence[Window], model: Model) -> Canvas:
    width = len(batch[-1].tokens)
    tokens = torch.zeros(len(batch), width, dtype=torch.int64)
    valid, answer = torch.zeros_like(tokens, dtype=torch.bool), torch.zeros_like(tokens, dtype=torch.bool)
    for i, window in enumerate(batch):
        size = len(window.tokens)
        tokens[i, :size] = torch.tensor(window.tokens)
        valid[i, :size] = True
        answer[i, :size] = torch.tensor(window.answer)
    # a window's noise hangs on what it holds, not on the batch it is scored in
    sample = torch.tensor([hash((window.document, *window.tokens, *window.answer)) >> 8 for window in batch])
    parts = (tokens, valid, answer, torch.zeros_like(valid), sample)
    return Canvas(*(part.to(model.device) for part in parts))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
