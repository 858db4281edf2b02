"""Next-token decoding of causal models: the baseline, and the guide or verifier of others."""

from __future__ import annotations

from ..core.method import Method
from ..parts.cache.exact import Exact
from ..parts.canvas.append import Append
from ..parts.commit.rule import Rule
from ..parts.draw.sample import Sample
from ..parts.guide.none import None_ as NoGuide
from ..parts.schedule.blocks import Blocks
from ..parts.select.quota import Quota
from ..parts.sight.causal import Causal
from ..parts.stop.eos import Eos

PAPER = "none: ordinary next-token decoding"
PROVENANCE = "transformers' generate"


def autoregressive(
    temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, repetition_penalty: float = 1.0
) -> Method:
    """One token a forward, left to right."""
    return Method(
        canvas=Append(),
        schedule=Blocks(1, "position"),
        sight=Causal(),
        cache=Exact(),
        draw=Sample(temperature, top_k, top_p, min_p, repetition_penalty),
        guide=NoGuide(),
        commit=Rule(select=Quota(count=1)),
        stop=Eos(),
    )
