"""Rotary position embedding (arXiv:2104.09864), half-split layout, with the published scalings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def inverse_frequencies(dim: int, theta: float, scaling: Mapping[str, Any] | None = None) -> tuple[Tensor, float]:
    """(dim / 2,) float32 frequencies and the factor on cos and sin; scaling: linear, llama3, yarn, or none."""
    freq = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    kind = (scaling or {}).get("rope_type", (scaling or {}).get("type", "default"))
    if scaling is None or kind == "default":
        return freq, 1.0
    factor = float(scaling["factor"])
    if kind == "linear":
        return freq / factor, 1.0
    original = float(scaling.get("original_max_position_embeddings", 0) or 0)
    if kind == "llama3":
        low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
        turns = original * freq / (2 * math.pi)
        smooth = ((turns - low) / (high - low)).clamp(0, 1)
        return (1 - smooth) * freq / factor + smooth * freq, 1.0
    if kind == "yarn":
        fast, slow = float(scaling.get("beta_fast", 32)), float(scaling.get("beta_slow", 1))

        def bound(turns: float) -> float:
            return dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

        low, high = max(math.floor(bound(fast)), 0), min(math.ceil(bound(slow)), dim - 1)
        ramp = ((torch.arange(dim // 2, dtype=torch.float32) - low) / max(high - low, 1e-3)).clamp(0, 1)
        attention = scaling.get("attention_factor") or 0.1 * math.log(factor) + 1.0
        return freq / factor * ramp + freq * (1 - ramp), float(attention)
    raise ValueError(f"rope scaling must be default, linear, llama3 or yarn, found {kind!r}")


def rotation(pos: Tensor, freq: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """cos and sin, (N, 1, 2 * len(freq)) float32, of integer positions (N,)."""
    angle = pos.to(torch.float32)[:, None] * freq
    angle = torch.cat((angle, angle), -1)[:, None, :]
    return angle.cos() * scale, angle.sin() * scale


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (N, heads, dim) rotated in float32; where cos is narrower than dim only the first columns turn."""
    width = cos.shape[-1]
    head, tail = (x[..., :width], x[..., width:]) if width < x.shape[-1] else (x, None)
    head = head.to(cos.dtype)
    half = width // 2
    turned = torch.cat((-head[..., half:], head[..., :half]), -1)
    out = torch.addcmul(head * cos, turned, sin).to(x.dtype)
    return out if tail is None else torch.cat((out, tail), -1)
