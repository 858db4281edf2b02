"""Llama 2 and 3: the causal decoder most others are shaped after (arXiv:2307.09288, 2407.21783)."""

from __future__ import annotations

from ...core.traits import Traits
from ..backbone import BackboneConfig
from ..config import Raw, flag, heads, no_window, number, only, read_traits, rotary, size
from ..family import HF_NAMES, Family


def config(raw: Raw) -> BackboneConfig:
    only(raw, "hidden_act", "silu")
    only(raw, "pretraining_tp", 1)
    no_window(raw)
    query, kv, head = heads(raw)
    theta, scaling = rotary(raw)
    bias = flag(raw, "attention_bias")
    return BackboneConfig(
        vocab_size=size(raw, "vocab_size"),
        hidden_size=size(raw, "hidden_size"),
        intermediate_size=size(raw, "intermediate_size"),
        num_layers=size(raw, "num_hidden_layers"),
        num_heads=query,
        num_kv_heads=kv,
        head_dim=head,
        norm_eps=number(raw, "rms_norm_eps", 1e-6),
        qkv_bias=bias,
        out_bias=bias,
        mlp_bias=flag(raw, "mlp_bias"),
        tie_embeddings=flag(raw, "tie_word_embeddings"),
        rope_theta=theta,
        rope_scaling=scaling,
    )


def traits(raw: Raw, generation: Raw) -> Traits:
    return read_traits(raw, generation, attention="causal", shift=True, block=1)


FAMILY = Family(
    name="llama",
    source="arXiv:2307.09288, arXiv:2407.21783",
    model_types=("llama",),
    config=config,
    traits=traits,
    names=HF_NAMES,
)
