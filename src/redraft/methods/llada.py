"""LLaDA's sampler: a planned number of tokens a step, block by block (arXiv:2502.09992; low-confidence or random remasking)."""

from __future__ import annotations

from typing import Literal

from ..core.method import Method
from ..core.slots import Guide, Score
from ..parts.cache.none import None_ as NoCache
from ..parts.canvas.aligned import Aligned
from ..parts.commit.rule import Rule
from ..parts.draw.sample import Sample
from ..parts.guide.cfg import Cfg
from ..parts.guide.none import None_ as NoGuide
from ..parts.schedule.blocks import Blocks
from ..parts.score.confidence import Confidence
from ..parts.score.entropy import Entropy
from ..parts.score.margin import Margin
from ..parts.score.random import Random
from ..parts.select.quota import Quota
from ..parts.sight.default import Default
from ..parts.stop.eos import Eos

PAPER = "arXiv:2502.09992"
PROVENANCE = "authors' code (ML-GSAI/LLaDA generate.py)"
PRESETS = {
    "llada-8b-instruct": {"block": 32},
    "llada-8b-base": {"block": -1},
    "llada-1.5": {"block": 32},
    "llada-moe": {"block": 32},
}
SCORES: dict[str, Score] = {
    "low_confidence": Confidence(),
    "random": Random(),
    "margin": Margin(),
    "entropy": Entropy(),
}


def llada(
    steps: int = 0,
    block: int = 32,
    remasking: Literal["low_confidence", "random", "margin", "entropy"] = "low_confidence",
    temperature: float = 0.0,
    cfg: float = 0.0,
    suppress_eos: bool = False,
    distrust_eos: bool = False,
) -> Method:
    """steps: forwards for the whole answer, 0 = one per token. block: tokens, -1 = the whole canvas. cfg: guidance scale.

    suppress_eos: the end id is never drawn (logits_eos_inf); distrust_eos: end ids are committed last (confidence_eos_eot_inf).
    """
    guide: Guide = Cfg(cfg) if cfg else NoGuide()
    return Method(
        canvas=Aligned(),
        schedule=Blocks(block, steps=steps),
        sight=Default(),
        cache=NoCache(),
        draw=Sample(temperature, suppress_eos=suppress_eos, distrust_eos=distrust_eos),
        guide=guide,
        commit=Rule(SCORES[remasking], Quota()),
        stop=Eos(),
    )
