"""DiffusionGemma: a canvas of uniform noise is redrawn whole; sure draws stay, the rest is renoised."""

from __future__ import annotations

from ..core.method import Method
from ..parts.cache.text import Text
from ..parts.canvas.uniform import Uniform
from ..parts.commit.renoise import Renoise
from ..parts.draw.annealed import Annealed
from ..parts.guide.self_condition import SelfCondition
from ..parts.schedule.blocks import Blocks
from ..parts.sight.encoder_decoder import EncoderDecoder
from ..parts.stop.eos import Eos

PAPER = "google/diffusiongemma-26B-A4B-it; the entropy bound is arXiv:2505.24857"
PROVENANCE = "transformers' DiffusionGemmaGenerationMixin.generate"
PRESETS: dict[str, dict[str, float]] = {"diffusiongemma-26b-a4b-it": {}}


def diffusion_gemma(
    steps: int = 48,
    bound: float = 0.1,
    t_max: float = 0.8,
    t_min: float = 0.4,
    stability: int = 1,
    confidence: float = 0.005,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> Method:
    """steps: most forwards per canvas. bound: nats of entropy that may be kept besides the least sure draw. t_max,
    t_min: temperature at the first step and after the last. A canvas ends early when its arg max is that of the
    last `stability` steps and its mean entropy is below `confidence`."""
    return Method(
        canvas=Uniform(forwards=steps),
        schedule=Blocks(0),
        sight=EncoderDecoder(),
        cache=Text(),
        draw=Annealed(t_max, t_min, steps, top_k, top_p, min_p),
        guide=SelfCondition(),
        commit=Renoise(bound, steps, stability, confidence),
        stop=Eos("block"),
    )
