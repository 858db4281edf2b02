"""E2D2: an encoder over clean blocks and a decoder over the noised one, which sees the encoder's earlier blocks. A time for
each block, at least one mask in it; cross entropy without weight, each row's sum by the number of its tokens.

One network does both halves here, with shared keys and values (the paper's tied form); the light decoder that makes the
paper's models fast to decode is not built. The prompt is block-causal, as it is when blocks are decoded.
"""

from __future__ import annotations

from ..objectives import LowDiscrepancy, Objective, PerDocument
from ..objectives.encoder_decoder import EncoderDecoder
from ..objectives.resampled import SomeInEachBlock
from .recipe import Optimiser, Recipe, Rows

BLOCK = 4

RECIPE = Recipe(
    paper="2510.22852 Encoder-Decoder Diffusion Language Models for Efficient Training and Inference",
    program=Objective(
        times=LowDiscrepancy(BLOCK, low=0.0),
        masking=SomeInEachBlock(BLOCK),
        layout=EncoderDecoder(BLOCK, whole=False),
        normaliser=PerDocument("answer"),
    ),
    attention="block",
    block=BLOCK,
    needs=("mask",),
    decodes_with="sdar(threshold=0.9)",
    rows=Rows(align=BLOCK),
    optimiser=Optimiser(lr=3e-4, warmup=1000),
)
