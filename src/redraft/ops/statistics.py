"""What decoders read of logits: token, probability, margin, entropy..., from one tile [rows x vocabulary] at a time.

This is the reference; the same function serves every executor and, tile by tile, bounds peak memory.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

NEG = float("-inf")
CHUNK = 128  # ids looked at together


class DrawValues(Protocol):
    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def top_k_first(self) -> bool: ...
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


def filtered(z: Tensor, top_k: int, top_p: float, min_p: float, top_k_first: bool = False) -> Tensor:
    """Logits (R, V) outside the kept set become -inf: top-p, then top-k (ties of the k-th are kept; or the other way round), then min-p."""
    if top_k_first:
        z = kept(z, top_k)
    if top_p < 1.0:
        ordered, order = z.sort(dim=-1, descending=True)
        over = ordered.softmax(-1).cumsum(-1) > top_p
        over = torch.cat((torch.zeros_like(over[:, :1]), over[:, :-1]), -1)
        z = z.masked_fill(torch.zeros_like(over).scatter(-1, order, over), NEG)
    if not top_k_first:
        z = kept(z, top_k)
    if min_p > 0.0:
        p = z.softmax(-1)
        z = z.masked_fill(p < min_p * p.amax(-1, keepdim=True), NEG)
    return z


def kept(z: Tensor, top_k: int) -> Tensor:
    return z.masked_fill(z < z.topk(top_k, -1).values[:, -1:], NEG) if 0 < top_k < z.shape[-1] else z


def penalised(z: Tensor, tokens: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """z (R, V): ids among tokens (R, T) where seen (R, T) are divided (if positive) or multiplied by the penalty (arXiv:1909.05858)."""
    spare = torch.zeros(z.shape[0], z.shape[1] + 1, dtype=torch.bool, device=z.device)
    present = spare.scatter(1, tokens.masked_fill(~seen, z.shape[1]), True)[:, :-1]
    return torch.where(present, torch.where(z > 0, z / penalty, z * penalty), z)


def greatest(z: Tensor) -> Tensor:
    """(R,) arg max of z (R, V), the leftmost of equals. By the greatest of each CHUNK: values are found many times faster than places."""
    whole = z.shape[1] - z.shape[1] % CHUNK
    peaks: Tensor = z[:, :whole].unflatten(1, (-1, CHUNK)).amax(-1)
    if whole < z.shape[1]:
        peaks = torch.cat((peaks, z[:, whole:].amax(-1, keepdim=True)), 1)
    chunk = peaks.argmax(1, keepdim=True) * CHUNK
    ids = (chunk + torch.arange(CHUNK, device=z.device)).clamp(max=z.shape[1] - 1)
    return ids.gather(1, z.gather(1, ids).argmax(1, keepdim=True)).squeeze(1)


def best(z: Tensor, banned: tuple[int, ...]) -> Tensor:
    """(R,) arg max of z (R, V) over ids that are not banned, without a copy of z."""
    borders = [-1, *sorted(i for i in banned if i < z.shape[1]), z.shape[1]]
    spans = [(a + 1, b) for a, b in pairwise(borders) if a + 1 < b]
    found = torch.stack([greatest(z[:, a:b]) + a for a, b in spans], 1)
    return found.gather(1, z.gather(1, found).argmax(1, keepdim=True)).squeeze(1)


def sampled(p: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """(R,) ids drawn from p (R, V), that need not sum to 1, by inverting its distribution function at uniform (R,) in (0, 1); and (R,)
    bool: p is zero throughout."""
    wide = F.pad(p, (0, -p.shape[1] % CHUNK)).unflatten(1, (-1, CHUNK))
    total = wide.sum(-1).double().cumsum(-1)
    goal = uniform[:, None] * total[:, -1:]
    chunk = torch.searchsorted(total, goal.clamp(min=1e-300)).clamp(max=total.shape[1] - 1)
    before = total.gather(1, (chunk - 1).clamp(min=0)).masked_fill(chunk == 0, 0.0)
    inner = wide.gather(1, chunk[..., None].expand(-1, 1, CHUNK)).squeeze(1).double().cumsum(-1)
    # rounding must not leave the ids that can be drawn
    rest = torch.minimum((goal - before).clamp(min=1e-300), inner[:, -1:])
    return (chunk * CHUNK + torch.searchsorted(inner, rest)).squeeze(1), total[:, -1] == 0


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
    temperature: Tensor | None = None,
) -> dict[str, Tensor]:
    """Fields of a Prediction for logits (R, V). banned ids and ids >= vocab are never the token, but count in the normaliser.

    uniform (R,) draws instead of taking the arg max; held (R,) asks for that id's probability; history: tokens and seen (R, T).
    temperature (R,), all above 0, in place of the draw's. Where the filters leave banned ids only, the best other id is the token.

    Exponentials are float32 (float64 for float64 logits), and what remains beside the token is summed on its own: both p and 1 - p
    are right to about 1e-6 of themselves, so that sure places keep their order where a float32 softmax says 1. draw.precision
    float64 returns that; float32 rounds it.
    """
    z = logits if logits.dtype == torch.float64 else logits.float()
    if draw.suppress:
        z = z.index_fill(1, torch.tensor(draw.suppress, device=z.device), NEG)
    if history is not None and draw.repetition_penalty != 1.0:
        z = penalised(z, history[0], history[1], draw.repetition_penalty)
    shaped = z
    if temperature is not None:
        shaped = z / temperature.to(z.dtype)[:, None]
    elif draw.temperature > 0 and draw.temperature != 1.0:
        shaped = z / draw.temperature
    shaped = filtered(shaped, draw.top_k, draw.top_p, draw.min_p, draw.top_k_first)
    source = shaped if draw.confidence == "filtered" else z
    if draw.distrust:
        source = source.index_fill(1, torch.tensor(draw.distrust, device=z.device), NEG)
    p = source.softmax(-1)

    out: dict[str, Tensor] = {}
    token = best(z[:, :vocab], banned)
    if "z1" in need:
        out["z1"] = at(z, token)
    if {"top_ids", "top_logits", "z2"} & set(need):
        values, ids = without(z[:, :vocab], banned, NEG).topk(top, -1)
        out["top_ids"], out["top_logits"], out["z2"] = ids, values, values[:, 1]
    if uniform is not None and (temperature is not None or draw.temperature > 0):
        q = p if source is shaped else shaped.softmax(-1)
        drawn, empty = sampled(without(q[:, :vocab], banned, 0.0), uniform)
        token = torch.where(empty, token, drawn)
    out["token"] = token
    if "logits" in need:
        out["logits"] = logits.clone()
    if "lse" in need:
        out["lse"] = z.logsumexp(-1)
    if "entropy" in need:
        out["entropy"] = torch.special.entr(p).sum(-1)
    shares = {"prob": at(p, token)}
    if "held" in need and held is not None:
        shares["held"] = at(p, held)
    if "margin" in need:
        pair = p.topk(2, -1).values.double()
        shares["margin"] = pair[:, 0] - pair[:, 1]
    rest = p.scatter_(1, token[:, None], 0.0).sum(-1)
    total = shares["prob"].double() + rest.double()
    out |= {name: share.double() / total for name, share in shares.items()}
    wide = draw.precision == "float64"
    return {name: value.float() if value.is_floating_point() and not wide else value for name, value in out.items()}


def at(x: Tensor, ids: Tensor) -> Tensor:
    """x (R, V) at ids (R,)."""
    return x.gather(1, ids[:, None]).squeeze(1)


def without(x: Tensor, banned: tuple[int, ...], value: float) -> Tensor:
    """A copy of x (R, V) with `value` at the banned ids."""
    ids = [i for i in banned if i < x.shape[1]]
    return x.index_fill(1, torch.tensor(ids, dtype=torch.int64, device=x.device), value)
