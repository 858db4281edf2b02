"""LLaDA-MoE: masked diffusion over a mixture of experts with full attention (arXiv:2509.24389)."""

from __future__ import annotations

from ...core.errors import CheckpointError
from ...core.traits import Traits
from ..backbone import BackboneConfig, MoEConfig
from ..config import Raw, flag, heads, number, only, read_traits, rotary, size
from ..family import HF_NAMES, Family


def config(raw: Raw) -> BackboneConfig:
    only(raw, "hidden_act", "silu")
    only(raw, "clip_qkv")
    only(raw, "moe_router_enable_expert_bias", False)
    only(raw, "moe_router_score_function", "softmax")
    only(raw, "routed_scaling_factor", 1)
    layers = size(raw, "num_hidden_layers")
    sparse = raw.get("moe_layer_freq") or [1] * layers
    if not isinstance(sparse, list) or len(sparse) < layers:
        raise CheckpointError(
            f"config.json must give 'moe_layer_freq' as {layers} numbers or more, one per layer, found "
            f"{sparse!r}; correct the file."
        )
    query, kv, head = heads(raw)
    theta, scaling = rotary(raw)
    bias = flag(raw, "attention_bias")
    width = size(raw, "expert_intermediate_size")
    return BackboneConfig(
        vocab_size=size(raw, "vocab_size"),
        hidden_size=size(raw, "hidden_size"),
        intermediate_size=size(raw, "dense_intermediate_size", width),
        num_layers=layers,
        num_heads=query,
        num_kv_heads=kv,
        head_dim=head,
        norm_eps=number(raw, "rms_norm_eps", 1e-5),
        qk_norm=flag(raw, "qk_layernorm"),
        qkv_bias=bias,
        out_bias=bias,
        tie_embeddings=flag(raw, "tie_word_embeddings"),
        rope_theta=theta,
        rope_scaling=scaling,
        rotary_dim=int(head * number(raw, "partial_rotary_factor", 1.0)),
        moe=MoEConfig(
            num_experts=size(raw, "num_experts"),
            num_experts_per_token=size(raw, "num_experts_per_tok"),
            intermediate_size=width,
            shared_size=raw.get("shared_expert_intermediate_size") or 0,
            # the published code never divides by the sum, whatever norm_topk_prob says
            normalise=False,
            dense_layers=frozenset(i for i, one in enumerate(sparse[:layers]) if one == 0),
        ),
    )


def traits(raw: Raw, generation: Raw) -> Traits:
    # 156895 is <|mask|>, 156892 <|endoftext|>, 156900 <|role_end|>
    return read_traits(raw, generation, attention="full", shift=False, mask=156895, eos=(156892,))


FAMILY = Family(
    name="llada_moe",
    source="arXiv:2509.24389",
    model_types=("lladamoe", "llada_moe"),
    architectures=("LLaDAMoEModelLM", "LLaDAMoEModel"),
    config=config,
    traits=traits,
    names={
        **HF_NAMES,
        "layers.{i}.mlp.shared.gate": "model.layers.{i}.shared_expert.gate_proj",
        "layers.{i}.mlp.shared.up": "model.layers.{i}.shared_expert.up_proj",
        "layers.{i}.mlp.shared.down": "model.layers.{i}.shared_expert.down_proj",
    },
)
