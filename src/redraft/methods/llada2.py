"""LLaDA2.0: block-causal mixture of experts, threshold decoding with a planned minimum (arXiv:2512.15745)."""

from __future__ import annotations

from ..core.method import Method
from ..parts.cache.exact import Exact
from ..parts.canvas.aligned import Aligned
from ..parts.commit.rule import Rule
from ..parts.draw.sample import Sample
from ..parts.guide.none import None_ as NoGuide
from ..parts.schedule.blocks import Blocks
from ..parts.score.confidence import Confidence
from ..parts.select.quota import Quota
from ..parts.select.threshold import Threshold
from ..parts.sight.default import Default
from ..parts.stop.eos import Eos

PAPER = "arXiv:2512.15745"
PROVENANCE = "authors' hub code"
PRESETS = {"llada2.0-mini": {"threshold": 0.95}, "llada2.0-flash": {"threshold": 0.95}}


def llada2(
    threshold: float = 0.95, steps: int = 0, block: int = 0, temperature: float = 0.0, early_stop: bool = True
) -> Method:
    """steps: forwards planned per block, 0 = one per token; all above the threshold are committed where they are at least that many.

    early_stop: end as soon as all before an end token stands; otherwise when the block that holds it is full.
    """
    return Method(
        canvas=Aligned(block),
        schedule=Blocks(block, "position"),
        sight=Default(),
        cache=Exact(),
        draw=Sample(temperature, confidence="filtered"),
        guide=NoGuide(),
        commit=Rule(Confidence(), Threshold(threshold, strict=True, least=Quota(steps, of="block"))),
        stop=Eos("either" if early_stop else "block"),
    )
