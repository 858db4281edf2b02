"""LLaDA-8B and LLaDA-1.5: masked diffusion, Llama-shaped, full attention (arXiv:2502.09992, 2505.19223)."""

from __future__ import annotations

from ...core.errors import CheckpointError
from ...core.traits import Traits
from ..backbone import BackboneConfig
from ..config import Raw, flag, number, only, read_traits, size
from ..family import Family

_BLOCK = "model.transformer.blocks.{i}"


def config(raw: Raw) -> BackboneConfig:
    only(raw, "block_type", "llama")
    only(raw, "activation_type", "silu")
    only(raw, "block_group_size", 1)
    for key in ("alibi", "attention_layer_norm", "scale_logits"):
        only(raw, key, False)
    only(raw, "rope", True)
    only(raw, "layer_norm_type", "rms", "default", "low_precision")
    only(raw, "rope_scaling")
    width, heads = size(raw, "d_model"), size(raw, "n_heads")
    kv = 1 if raw.get("n_kv_heads") is None and flag(raw, "multi_query_attention") else size(raw, "n_kv_heads", heads)
    if width % heads or heads % kv:
        raise CheckpointError(
            f"config.json should have d_model a multiple of n_heads and n_heads one of n_kv_heads, found {width}, "
            f"{heads} and {kv}; correct the file."
        )
    bias = flag(raw, "include_bias")
    rms = raw.get("layer_norm_type", "default") == "rms"
    return BackboneConfig(
        vocab_size=size(raw, "embedding_size", raw.get("vocab_size")),
        hidden_size=width,
        intermediate_size=size(raw, "mlp_hidden_size", number(raw, "mlp_ratio", 4) * width),
        num_layers=size(raw, "n_layers"),
        num_heads=heads,
        num_kv_heads=kv,
        head_dim=width // heads,
        norm="rms" if rms else "layer",
        norm_eps=number(raw, "rms_norm_eps", 1e-5) if rms else 1e-5,
        norm_affine=flag(raw, "layer_norm_with_affine", True),
        norm_bias=flag(raw, "layer_norm_with_affine", True) and flag(raw, "bias_for_layer_norm", bias),
        qkv_bias=bias or flag(raw, "include_qkv_bias"),
        out_bias=bias,
        mlp_bias=bias,
        head_bias=bias and not flag(raw, "weight_tying", True),
        tie_embeddings=flag(raw, "weight_tying", True),
        rope_theta=number(raw, "rope_theta", 10000.0),
        embed_scale=width**0.5 if flag(raw, "input_emb_norm") else 1.0,
    )


def traits(raw: Raw, generation: Raw) -> Traits:
    # 126336 is <|mdm_mask|>, 126081 <|endoftext|>; chat answers end with 126348 <|eot_id|>, which no config names
    return read_traits(
        raw,
        generation,
        attention="full",
        shift=False,
        mask=126336,
        eos=(126081,),
        also=(126348,),
        context="max_sequence_length",
    )


FAMILY = Family(
    name="llada",
    source="arXiv:2502.09992, arXiv:2505.19223",
    model_types=("llada",),
    architectures=("LLaDAModelLM",),
    config=config,
    traits=traits,
    names={
        "embedding": "model.transformer.wte",
        "norm": "model.transformer.ln_f",
        "lm_head": "model.transformer.ff_out",
        "layers.{i}.attn_norm": f"{_BLOCK}.attn_norm",
        "layers.{i}.mlp_norm": f"{_BLOCK}.ff_norm",
        "layers.{i}.attn.q": f"{_BLOCK}.q_proj",
        "layers.{i}.attn.k": f"{_BLOCK}.k_proj",
        "layers.{i}.attn.v": f"{_BLOCK}.v_proj",
        "layers.{i}.attn.o": f"{_BLOCK}.attn_out",
        "layers.{i}.mlp.gate": f"{_BLOCK}.ff_proj",
        "layers.{i}.mlp.up": f"{_BLOCK}.up_proj",
        "layers.{i}.mlp.down": f"{_BLOCK}.ff_out",
    },
)
