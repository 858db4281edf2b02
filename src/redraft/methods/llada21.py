"""LLaDA2.1: threshold decoding that also edits what it has committed (arXiv:2602.08676)."""

from __future__ import annotations

from ..core.method import Method
from ..parts.cache.exact import Exact
from ..parts.canvas.aligned import Aligned
from ..parts.commit.rule import Rule
from ..parts.draw.sample import Sample
from ..parts.guide.none import None_ as NoGuide
from ..parts.revise.edit import Edit
from ..parts.schedule.blocks import Blocks
from ..parts.score.confidence import Confidence
from ..parts.select.quota import Quota
from ..parts.select.threshold import Threshold
from ..parts.sight.default import Default
from ..parts.stop.eos import Eos

PAPER = "arXiv:2602.08676"
PROVENANCE = "authors' hub code"
PRESETS = {
    "quality": {"threshold": 0.7, "edit": 0.5},
    "sglang": {"threshold": 0.5, "edit": 0.0},
    "port": {"threshold": 0.95, "edit": 0.9},
}


def llada21(
    threshold: float = 0.7, edit: float = 0.5, post: int = 16, least: int = 1, block: int = 0, temperature: float = 0.0
) -> Method:
    """threshold and edit: bars for masks and for committed tokens; post: most passes over a full block; least: tokens a step commits."""
    return Method(
        canvas=Aligned(block),
        schedule=Blocks(block, "position"),
        sight=Default(),
        cache=Exact(),
        draw=Sample(temperature, confidence="filtered"),
        guide=NoGuide(),
        commit=Rule(Confidence(), Threshold(threshold, strict=True, least=Quota(count=least)), Edit(edit, post)),
        stop=Eos("block"),
    )
