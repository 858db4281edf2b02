"""What decoders read of logits: token, probability, margin, entropy..., from one tile [rows x vocabulary] at a time.

This is the reference; the same function serves every executor and, tile by tile, bounds peak memory.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import torch
from torch import Tensor

NEG = float("-inf")


class DrawValues(Protocol):
    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def min_p(self) -> float: ...
    @property
    def repetition_penalty(self) -> float: ...
    @property
    def confidence(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def suppress(self) -> tuple[int, ...]: ...
    @property
    def distrust(self) -> tuple[int, ...]: ...


def filtered(z: Tensor, top_k: int, top_p: float, min_p: float) -> Tensor:
    """Logits (R, V) outside the kept set become -inf: top-p, then top-k (ties of the k-th are kept), then min-p."""
    if top_p < 1.0:
        ordered, order = z.sort(dim=-1, descending=True)
        over = ordered.softmax(-1).cumsum(-1) > top_p
        over = torch.cat((torch.zeros_like(over[:, :1]), over[:, :-1]), -1)
        z = z.masked_fill(torch.zeros_like(over).scatter(-1, order, over), NEG)
    if 0 < top_k < z.shape[-1]:
        z = z.masked_fill(z < z.topk(top_k, -1).values[:, -1:], NEG)
    if min_p > 0.0:
        p = z.softmax(-1)
        z = z.masked_fill(p < min_p * p.amax(-1, keepdim=True), NEG)
    return z


def penalised(z: Tensor, tokens: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """z (R, V): ids among tokens (R, T) where seen (R, T) are divided (if positive) or multiplied by the penalty (arXiv:1909.05858)."""
    spare = torch.zeros(z.shape[0], z.shape[1] + 1, dtype=torch.bool, device=z.device)
    present = spare.scatter(1, tokens.masked_fill(~seen, z.shape[1]), True)[:, :-1]
    return torch.where(present, torch.where(z > 0, z / penalty, z * penalty), z)


def sampled(z: Tensor, uniform: Tensor) -> Tensor:
    """(R,) ids drawn from softmax(z) by inverting its distribution function at uniform (R,) in (0, 1)."""
    cdf = z.double().softmax(-1).cumsum(-1)
    return (
        torch.searchsorted(cdf, (uniform[:, None] * cdf[:, -1:]).clamp(min=1e-300))
        .squeeze(-1)
        .clamp(max=z.shape[-1] - 1)
    )


def statistics(
    logits: Tensor,
    draw: DrawValues,
    need: Collection[str],
    banned: tuple[int, ...],
    vocab: int,
    uniform: Tensor | None = None,
    held: Tensor | None = None,
    history: tuple[Tensor, Tensor] | None = None,
    top: int = 2,
) -> dict[str, Tensor]:
    """Fields of a Prediction for logits (R, V). banned ids and ids >= vocab are never the token, but count in the normaliser.

    uniform (R,) draws instead of taking the arg max; held (R,) asks for that id's probability; history: tokens and seen (R, T).
    """
    z = logits.double() if draw.precision == "float64" else logits.float()
    owned = z.data_ptr() != logits.data_ptr()
    if draw.suppress:
        z = z.index_fill(1, torch.tensor(draw.suppress, device=z.device), NEG)
        owned = True
    if history is not None and draw.repetition_penalty != 1.0:
        z, owned = penalised(z, history[0], history[1], draw.repetition_penalty), True
    shaped = z
    if draw.temperature > 0 and draw.temperature != 1.0:
        shaped = z / draw.temperature
    shaped = filtered(shaped, draw.top_k, draw.top_p, draw.min_p)
    source = shaped if draw.confidence == "filtered" else z
    if draw.distrust:
        source = source.index_fill(1, torch.tensor(draw.distrust, device=z.device), NEG)
    norm = source.logsumexp(-1)
    out: dict[str, Tensor] = {}
    if "logits" in need:
        out["logits"] = logits.clone()
    if "lse" in need:
        out["lse"] = norm if source is z else z.logsumexp(-1)
    if "entropy" in need:
        logp = source - norm[:, None]
        out["entropy"] = -(logp.exp() * logp.masked_fill(logp == NEG, 0.0)).sum(-1)
    if "margin" in need:
        pair = (source.topk(2, -1).values - norm[:, None]).exp()
        out["margin"] = pair[:, 0] - pair[:, 1]
    if "held" in need and held is not None:
        out["held"] = (source.gather(-1, held[:, None]).squeeze(-1) - norm).exp()
    ban = [i for i in banned if i < z.shape[1]]
    choice = shaped
    if ban or vocab < z.shape[1]:
        # in place where the tile is ours and nothing later reads it
        choice = shaped if (owned or shaped is not z) and source is not shaped else shaped.clone()
        for i in ban:
            choice[:, i] = NEG
        choice[:, vocab:] = NEG
    if {"top_ids", "top_logits", "z2"} & set(need):
        values, ids = choice.topk(top, -1)
        out["top_ids"], out["top_logits"], out["z2"] = ids, values, values[:, 1]
    peak, token = choice.max(-1)
    if draw.temperature > 0 and uniform is not None:
        token = sampled(choice, uniform)
    out["token"] = token
    if "z1" in need:
        out["z1"] = peak
    out["prob"] = (source.gather(-1, token[:, None]).squeeze(-1) - norm).exp()
    return {
        name: value.float() if value.is_floating_point() and draw.precision == "float32" else value
        for name, value in out.items()
    }
