"""LLaDA2.0 and LLaDA2.1: block diffusion, mixture of experts; 2.1 also edits (arXiv:2512.15745, 2602.08676)."""

from __future__ import annotations

from ...core.traits import Traits
from ..backbone import BackboneConfig, MoEConfig
from ..config import Raw, flag, heads, no_window, number, only, read_traits, rotary, size
from ..family import HF_NAMES, Family


def config(raw: Raw) -> BackboneConfig:
    only(raw, "hidden_act", "silu")
    only(raw, "score_function", "sigmoid")
    only(raw, "norm_head", False)
    no_window(raw)
    query, kv, head = heads(raw)
    theta, scaling = rotary(raw)
    chosen = size(raw, "num_experts_per_tok")
    turned = number(
        raw.get("rope_parameters") or {}, "partial_rotary_factor", number(raw, "partial_rotary_factor", 0.5)
    )
    return BackboneConfig(
        vocab_size=size(raw, "vocab_size"),
        hidden_size=size(raw, "hidden_size"),
        intermediate_size=size(raw, "intermediate_size"),
        num_layers=size(raw, "num_hidden_layers"),
        num_heads=query,
        num_kv_heads=kv,
        head_dim=head,
        norm_eps=number(raw, "rms_norm_eps", 1e-6),
        qk_norm=flag(raw, "use_qk_norm", True),
        qkv_bias=flag(raw, "use_qkv_bias"),
        out_bias=flag(raw, "use_bias"),
        fused_qkv=True,
        tie_embeddings=flag(raw, "tie_word_embeddings"),
        rope_theta=theta,
        rope_scaling=scaling,
        rotary_dim=int(head * turned),
        moe=MoEConfig(
            num_experts=size(raw, "num_experts"),
            num_experts_per_token=chosen,
            intermediate_size=size(raw, "moe_intermediate_size"),
            shared_size=int(raw.get("num_shared_experts") or 0) * size(raw, "moe_intermediate_size"),
            score="sigmoid",
            # the published code divides by the sum where more than one is chosen, whatever norm_topk_prob says
            normalise=chosen > 1,
            scale=number(raw, "routed_scaling_factor", 2.5),
            num_groups=size(raw, "n_group", 8),
            num_groups_per_token=size(raw, "topk_group", 4),
            bias=True,
            dense_layers=frozenset(range(int(raw.get("first_k_dense_replace") or 0))),
        ),
    )


def traits(raw: Raw, generation: Raw) -> Traits:
    # 2.1 is published under 2.0's model_type: the name is what tells that a checkpoint was trained to edit
    named = str(raw.get("_name_or_path") or "").lower()
    edits = raw.get("model_type") == "llada21_moe" or "llada2.1" in named
    block = size(raw, "block_size", 32)
    return read_traits(
        raw, generation, attention="block", shift=False, block=block, mask=156895, eos=(156892,), edits=edits
    )


FAMILY = Family(
    name="llada2",
    source="arXiv:2512.15745, arXiv:2602.08676",
    model_types=("llada2_moe", "llada21_moe"),
    architectures=("LLaDA2MoeModelLM",),
    config=config,
    traits=traits,
    names={
        **HF_NAMES,
        "embedding": "model.word_embeddings",
        "layers.{i}.attn.qkv": "model.layers.{i}.attention.query_key_value",
        "layers.{i}.attn.o": "model.layers.{i}.attention.dense",
        "layers.{i}.attn.q_norm": "model.layers.{i}.attention.query_layernorm",
        "layers.{i}.attn.k_norm": "model.layers.{i}.attention.key_layernorm",
    },
)
