"""Qwen3, dense and mixture of experts: causal, with RMS norms on queries and keys (arXiv:2505.09388)."""

from __future__ import annotations

from ...core.errors import CheckpointError
from ...core.traits import Traits
from ..backbone import BackboneConfig, MoEConfig
from ..config import Raw, flag, heads, no_window, number, only, read_traits, rotary, size
from ..family import HF_NAMES, Family


def experts(raw: Raw) -> MoEConfig | None:
    # transformers 5 writes the count as num_local_experts
    key = "num_experts" if raw.get("num_experts") is not None else "num_local_experts"
    if raw.get(key) is None and not str(raw.get("model_type")).endswith("_moe"):
        return None
    layers, every = size(raw, "num_hidden_layers"), size(raw, "decoder_sparse_step", 1)
    listed = raw.get("mlp_only_layers") or ()
    if not all(isinstance(one, int) and 0 <= one < layers for one in listed):
        raise CheckpointError(
            f"config.json must list layer numbers below {layers} in 'mlp_only_layers', found "
            f"{listed!r}; correct the file."
        )
    return MoEConfig(
        num_experts=size(raw, key),
        num_experts_per_token=size(raw, "num_experts_per_tok"),
        intermediate_size=size(raw, "moe_intermediate_size"),
        normalise=flag(raw, "norm_topk_prob"),
        dense_layers=frozenset(listed) | frozenset(i for i in range(layers) if (i + 1) % every),
    )


def config(raw: Raw) -> BackboneConfig:
    """Also the shapes of SDAR and TraDo, which start from Qwen3."""
    only(raw, "hidden_act", "silu")
    no_window(raw)
    query, kv, head = heads(raw)
    theta, scaling = rotary(raw)
    bias = flag(raw, "attention_bias")
    moe = experts(raw)
    return BackboneConfig(
        vocab_size=size(raw, "vocab_size"),
        hidden_size=size(raw, "hidden_size"),
        intermediate_size=size(raw, "intermediate_size", None if moe is None else moe.intermediate_size),
        num_layers=size(raw, "num_hidden_layers"),
        num_heads=query,
        num_kv_heads=kv,
        head_dim=head,
        norm_eps=number(raw, "rms_norm_eps", 1e-6),
        qk_norm=True,
        qkv_bias=bias,
        out_bias=bias,
        tie_embeddings=flag(raw, "tie_word_embeddings"),
        rope_theta=theta,
        rope_scaling=scaling,
        moe=moe,
    )


def traits(raw: Raw, generation: Raw) -> Traits:
    return read_traits(raw, generation, attention="causal", shift=True, block=1, eos=(151645, 151643))


FAMILY = Family(
    name="qwen3",
    source="arXiv:2505.09388",
    model_types=("qwen3", "qwen3_moe"),
    config=config,
    traits=traits,
    names=HF_NAMES,
)
