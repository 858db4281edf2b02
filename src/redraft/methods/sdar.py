"""SDAR: block diffusion with an exact K/V cache; static, dynamic, sequential or entropy-bounded steps (arXiv:2510.06303)."""

from __future__ import annotations

from typing import Literal

from ..core.method import Method
from ..core.slots import Score, Select
from ..parts.cache.exact import Exact
from ..parts.canvas.aligned import Aligned
from ..parts.commit.rule import Rule
from ..parts.draw.sample import Sample
from ..parts.guide.none import None_ as NoGuide
from ..parts.schedule.blocks import Blocks
from ..parts.score.confidence import Confidence
from ..parts.score.leftmost import Leftmost
from ..parts.select.entropy_bound import EntropyBound
from ..parts.select.quota import Quota
from ..parts.select.threshold import Threshold
from ..parts.sight.default import Default
from ..parts.stop.eos import Eos

PAPER = "arXiv:2510.06303"
PROVENANCE = "authors' code (JetAstra/SDAR generate.py; JetEngine for entropy_bounded)"
PRESETS = {
    "sdar-chat": {"strategy": "dynamic", "threshold": 0.9},
    "trado": {"strategy": "dynamic", "threshold": 0.9},
    "jetengine": {"strategy": "entropy_bounded", "bound": 0.35},
}


def sdar(
    strategy: Literal["static", "dynamic", "sequential", "entropy_bounded"] = "dynamic",
    threshold: float = 0.85,
    steps: int = 0,
    bound: float = 0.35,
    block: int = 0,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Method:
    """steps: forwards per block, 0 = one per token. block: tokens, 0 = the model's. dynamic: all above the threshold where they are at
    least the planned number, else that many."""
    quota = Quota(steps, of="block")
    selects: dict[str, Select] = {
        "static": quota,
        "sequential": quota,
        "dynamic": Threshold(threshold, strict=True, least=quota),
        "entropy_bounded": EntropyBound(bound),
    }
    score: Score = Leftmost() if strategy == "sequential" else Confidence()
    return Method(
        canvas=Aligned(block),
        schedule=Blocks(block, "position"),
        sight=Default(),
        cache=Exact(),
        draw=Sample(temperature, top_k, top_p, confidence="filtered", top_k_first=True),
        guide=NoGuide(),
        commit=Rule(score, selects[strategy]),
        stop=Eos("block"),
    )
