"""Dream's sampler: the forward process's time grid, four ways to choose (arXiv:2508.15487; DiffuCoder, arXiv:2506.20639)."""

from __future__ import annotations

from typing import Literal

from ..core.method import Method
from ..core.slots import Score, Select
from ..parts.cache.none import None_ as NoCache
from ..parts.canvas.aligned import Aligned
from ..parts.commit.rule import Rule
from ..parts.draw.sample import Sample
from ..parts.guide.none import None_ as NoGuide
from ..parts.schedule.blocks import Blocks
from ..parts.score.confidence import Confidence
from ..parts.score.entropy import Entropy
from ..parts.score.gumbel import Gumbel
from ..parts.score.margin import Margin
from ..parts.select.reveal import Reveal
from ..parts.select.time_grid import TimeGrid
from ..parts.sight.default import Default
from ..parts.stop.eos import Eos

PAPER = "arXiv:2508.15487"
PROVENANCE = "authors' code (generation_utils.py)"
PRESETS = {
    "dream-7b-instruct": {"alg": "entropy", "temperature": 0.2, "top_p": 0.95},
    "diffucoder": {"alg": "entropy", "temperature": 0.3, "top_p": 0.95},
}
SCORES: dict[str, Score] = {
    "origin": Confidence(),
    "maskgit_plus": Confidence(),
    "topk_margin": Margin(),
    "entropy": Entropy(),
}


def dream(
    alg: Literal["origin", "maskgit_plus", "topk_margin", "entropy"] = "entropy",
    steps: int = 0,
    eps: float = 1e-3,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 50,
    alg_temp: float = 0.0,
) -> Method:
    """steps: points of the time grid, 0 = one per token. top_k 50 is the published default. alg_temp: randomness of the order.

    Scores read the filtered distribution.
    """
    score = SCORES[alg]
    select: Select = Reveal(eps=eps) if alg == "origin" else TimeGrid(eps=eps)
    return Method(
        canvas=Aligned(),
        schedule=Blocks(-1, steps=steps),
        sight=Default(),
        cache=NoCache(),
        draw=Sample(temperature, top_k, top_p, confidence="filtered"),
        guide=NoGuide(),
        commit=Rule(Gumbel(score, alg_temp) if alg_temp else score, select),
        stop=Eos(),
    )
