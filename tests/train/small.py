"""Small canvases and a small backbone for the tests of this folder."""

from __future__ import annotations

import torch

from redraft.core.draws import Keyed
from redraft.core.traits import Traits
from redraft.models.backbone import Backbone, BackboneConfig
from redraft.objectives import Canvas, Layout, Noised, View

MASK, BLOCK = 2, 4
TRAITS = Traits(mask=MASK, eos=(1,), vocab=20, attention="block", block=BLOCK)


def lay(layout: Layout, canvas: Canvas, tokens: torch.Tensor | None = None, learn: torch.Tensor | None = None) -> View:
    """The layout's view of `tokens` (the clean ones where None) with the targets `learn` (the answer where None)."""
    tokens, learn = canvas.tokens if tokens is None else tokens, canvas.answer if learn is None else learn
    time = torch.ones(tokens.shape)
    return layout.lay(canvas, Noised(tokens, learn, time, time), learn, Keyed(0))


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
