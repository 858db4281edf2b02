"""Fast-dLLM v2: block diffusion on a shifted model, sub-blocks inside blocks (arXiv:2509.26328)."""

from __future__ import annotations

from ..core.method import Method
from ..core.slots import Cache
from ..parts.cache.exact import Exact
from ..parts.cache.sub_block import SubBlock
from ..parts.canvas.aligned import Aligned
from ..parts.commit.rule import Rule
from ..parts.draw.sample import Sample
from ..parts.guide.none import None_ as NoGuide
from ..parts.schedule.blocks import Blocks
from ..parts.score.confidence import Confidence
from ..parts.select.threshold import Threshold
from ..parts.sight.default import Default
from ..parts.stop.eos import Eos

PAPER = "arXiv:2509.26328"
PROVENANCE = "authors' code (modeling.py on the hub)"
PRESETS = {"fast-dllm-v2": {"threshold": 0.9, "sub_block": 8}}


def fast_dllm_v2(
    threshold: float = 0.9, sub_block: int = 8, block_cache: bool = False, temperature: float = 0.0
) -> Method:
    """A block's first token comes from the block before (on shifted models); then sub-blocks of `sub_block` tokens fill left to right:
    all above the threshold, or the best. block_cache: approximate K/V reuse inside the block too."""
    cache: Cache = SubBlock() if block_cache else Exact()
    return Method(
        canvas=Aligned(),
        schedule=Blocks(sub_block, "position", lead=-1),
        sight=Default(),
        cache=cache,
        draw=Sample(temperature, confidence="filtered"),
        guide=NoGuide(),
        commit=Rule(Confidence(), Threshold(threshold, strict=True)),
        stop=Eos(),
    )
