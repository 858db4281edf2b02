"""Qwen2 and Qwen2.5: causal Llama-shaped decoders with biases on q, k and v (arXiv:2407.10671, 2412.15115)."""

from __future__ import annotations

from ...core.traits import Traits
from ..backbone import BackboneConfig
from ..config import Raw, flag, heads, no_window, number, only, read_traits, rotary, size
from ..family import HF_NAMES, Family


def config(raw: Raw) -> BackboneConfig:
    """Also the shapes of the diffusion models converted from Qwen2.5: Dream, DiffuCoder, Fast-dLLM v2."""
    only(raw, "hidden_act", "silu")
    only(raw, "use_mrope", False)
    no_window(raw)
    query, kv, head = heads(raw)
    theta, scaling = rotary(raw)
    return BackboneConfig(
        vocab_size=size(raw, "vocab_size"),
        hidden_size=size(raw, "hidden_size"),
        intermediate_size=size(raw, "intermediate_size"),
        num_layers=size(raw, "num_hidden_layers"),
        num_heads=query,
        num_kv_heads=kv,
        head_dim=head,
        norm_eps=number(raw, "rms_norm_eps", 1e-6),
        qkv_bias=True,
        tie_embeddings=flag(raw, "tie_word_embeddings"),
        rope_theta=theta,
        rope_scaling=scaling,
    )


def traits(raw: Raw, generation: Raw) -> Traits:
    keys = ("mask_token_id", "text_mask_token_id")
    return read_traits(raw, generation, attention="causal", shift=True, block=1, mask_keys=keys, eos=(151645, 151643))


FAMILY = Family(
    name="qwen2",
    source="arXiv:2407.10671, arXiv:2412.15115",
    model_types=("qwen2",),
    config=config,
    traits=traits,
    names=HF_NAMES,
)
