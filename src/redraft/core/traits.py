"""What a checkpoint is, as data: the loop and the parts read these and nothing else about a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Attention = Literal["full", "causal", "block", "encoder_decoder"]


@dataclass(frozen=True)
class Traits:
    """What a decoder must know of a checkpoint.

    mask        id of the mask token, or None (uniform-noise models have none)
    eos         ids that end an answer
    vocab       number of true ids; logits at or above it are never committed
    shift       True where the prediction for column i is output row i - 1 (Dream, Fast-dLLM v2, causal models)
    attention   who sees whom by default
    block       the model's block size in tokens (0 for full attention; 1 for causal, more where a causal text ends in an
                open block that sees itself whole: NBDiff, SBD)
    edits       True where the model was trained to overwrite committed tokens (LLaDA2.1)
    noise       "mask" or "uniform": what an open column holds
    ragged      True where a block model was trained on canvases that end anywhere, not only on a block's border
    context     longest canvas in tokens the positions were trained for (0: unknown)
    """

    mask: int | None
    eos: tuple[int, ...]
    vocab: int
    shift: bool = False
    attention: Attention = "full"
    block: int = 0
    edits: bool = False
    noise: Literal["mask", "uniform"] = "mask"
    ragged: bool = False
    context: int = 0
