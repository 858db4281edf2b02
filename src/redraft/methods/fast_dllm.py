"""Fast-dLLM: commit all the model is sure of, block by block, with approximate K/V reuse (arXiv:2505.22618)."""

from __future__ import annotations

from typing import Literal

from ..core.method import Method
from ..core.slots import Cache, Score, Select
from ..parts.cache.dual import Dual
from ..parts.canvas.aligned import Aligned
from ..parts.commit.rule import Rule
from ..parts.draw.sample import Sample
from ..parts.guide.none import None_ as NoGuide
from ..parts.schedule.blocks import Blocks
from ..parts.score.confidence import Confidence
from ..parts.score.entropy import Entropy
from ..parts.select.carry import Carry
from ..parts.select.factor import Factor
from ..parts.select.lead import Lead
from ..parts.select.quota import Quota
from ..parts.select.threshold import Threshold
from ..parts.select.time_grid import TimeGrid
from ..parts.sight.default import Default
from ..parts.stop.eos import Eos

PAPER = "arXiv:2505.22618"
PROVENANCE = "authors' code (NVlabs/Fast-dLLM)"
PRESETS = {
    "llada-8b-instruct": {"threshold": 0.9, "block": 32},
    "dream-7b-base": {"threshold": 0.9, "block": 32, "form": "dream"},
}


def fast_dllm(
    threshold: float | None = 0.9,
    block: int = 32,
    factor: float | None = None,
    steps: int = 0,
    cache: Cache = Dual(),  # noqa: B008  (parts are frozen values)
    form: Literal["llada", "dream", "dream_whole"] = "llada",
    temperature: float = 0.0,
    eps: float = 1e-3,
    quirk: bool = False,
) -> Method:
    """threshold: the bar; factor: the joint bound instead; neither: `steps` forwards for the answer. cache: none, prefix, dual...

    form  the sampler for LLaDA; for Dream by blocks (a block's first token is taken when it opens); for Dream on the whole canvas
    quirk the authors' factor rule commits a failure at the last rank too
    """
    score: Score = Confidence()
    select: Select
    if factor is not None:
        select = Factor(factor, quirk)
    elif threshold is not None:
        select = Carry(threshold) if form == "dream_whole" else Threshold(threshold)
    elif form == "llada":
        select = Quota()
    else:
        score, select = Entropy(), TimeGrid(eps=eps, first=1)
    # Dream's published generation default keeps the 50 best tokens
    draw = (
        Sample(temperature, precision="float64") if form == "llada" else Sample(temperature, 50, confidence="filtered")
    )
    return Method(
        canvas=Aligned(),
        schedule=Blocks(-1 if form == "dream_whole" else block, steps=steps),
        sight=Default(),
        cache=cache,
        draw=draw,
        guide=NoGuide(),
        commit=Rule(score, Lead(select) if form == "dream" else select),
        stop=Eos(),
    )
