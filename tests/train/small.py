"""Small canvases and a small backbone for the tests of this folder."""

from __future__ import annotations

import torch

from redraft.models.backbone import Backbone, BackboneConfig
from redraft.objectives import Canvas

MASK, BLOCK = 2, 4


def make(prompt: tuple[int, ...], answer: tuple[int, ...], suffix: tuple[int, ...] | None = None) -> Canvas:
    suffix = suffix or (0,) * len(prompt)
    width = max(map(sum, zip(prompt, answer, suffix, strict=True)))
    column = torch.arange(width)
    p, a, s = (torch.tensor(x)[:, None] for x in (prompt, answer, suffix))
    generator = torch.Generator().manual_seed(7)
    tokens = torch.randint(3, 20, (len(prompt), width), generator=generator)
    return Canvas(
        tokens,
        column < p + a + s,
        (column >= p) & (column < p + a),
        (column >= p + a) & (column < p + a + s),
        torch.arange(len(prompt)),
    )


def backbone() -> Backbone:
    torch.manual_seed(0)
    return Backbone(BackboneConfig(20, 16, 32, 2, 2, 2, 8, qk_norm=True, tie_embeddings=True))
