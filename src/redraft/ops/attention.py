"""Scaled dot-product attention under the house's one rule of who sees whom."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def sight_mask(
    rank_key: Tensor, reach: Tensor, clique: Tensor, clique_key: Tensor, turn: Tensor, turn_key: Tensor
) -> Tensor:
    """(..., Q, K) bool: query i sees key j iff rank[j] <= reach[i] or they share a clique >= 0 and turn[j] <= turn[i]."""
    ranked = rank_key[..., None, :] <= reach[..., :, None]
    same = (clique[..., :, None] == clique_key[..., None, :]) & (clique[..., :, None] >= 0)
    return ranked | (same & (turn_key[..., None, :] <= turn[..., :, None]))


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """q (B, H, Q, D), k and v (B, G, K, D) with H a multiple of G; mask (B, 1, Q, K) bool or additive, None sees all."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=q.shape[1] != k.shape[1])
