"""The published configurations: three as they are (published/*.json), the others from their model cards' figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "published"
DREAM = json.loads((FOLDER / "dream-7b.json").read_text(encoding="utf-8"))
LLADA = json.loads((FOLDER / "llada-8b.json").read_text(encoding="utf-8"))
SDAR = json.loads((FOLDER / "sdar-8b-qwen3.json").read_text(encoding="utf-8"))


def shapes(hidden: int, inner: int, layers: int, heads: int, kv: int, vocab: int, **rest: Any) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": vocab,
        "hidden_act": "silu",
        **rest,
    }


QWEN25_7B = shapes(3584, 18944, 28, 28, 4, 152064, rope_theta=1e6, tie_word_embeddings=False)
QWEN25_1B5 = shapes(1536, 8960, 28, 12, 2, 151936, rope_theta=1e6, tie_word_embeddings=True)
QWEN3_30B = shapes(
    2048, 6144, 48, 32, 4, 151936, head_dim=128, num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768,
    norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], rope_theta=1e6, attention_bias=False,
    tie_word_embeddings=False,
)  # fmt: skip
LLADA2 = {
    "head_dim": 128,
    "num_experts": 256,
    "num_experts_per_tok": 8,
    "num_shared_experts": 1,
    "n_group": 8,
    "topk_group": 4,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 2.5,
    "partial_rotary_factor": 0.5,
    "score_function": "sigmoid",
    "norm_topk_prob": True,
    "use_qk_norm": True,
    "use_qkv_bias": False,
    "use_bias": False,
    "norm_head": False,
    "rope_theta": 600000,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 32768,
    "pad_token_id": 156892,
    "tie_word_embeddings": False,
    "moe_router_enable_expert_bias": True,
    "model_type": "llada2_moe",
    "architectures": ["LLaDA2MoeModelLM"],
}
LLADA2_MINI = shapes(2048, 5120, 20, 16, 4, 157184, moe_intermediate_size=512, **LLADA2)

# name: (config, what transformers calls the same shapes or None, billions of parameters on the card, mask, eos, block)
PUBLISHED: dict[str, tuple[dict[str, Any], str | None, float, int | None, tuple[int, ...], int]] = {
    "LLaDA-8B": (LLADA, None, 8.0, 126336, (126081, 126348), 0),
    "LLaDA-1.5": (LLADA | {"_name_or_path": "GSAI-ML/LLaDA-1.5"}, None, 8.0, 126336, (126081, 126348), 0),
    "LLaDA-MoE-7B-A1B": (
        shapes(
            2048, 0, 16, 16, 16, 157184, model_type="llada", architectures=["LLaDAMoEModelLM"], num_experts=64,
            num_experts_per_tok=8, expert_intermediate_size=1024, dense_intermediate_size=8192, qk_layernorm=True,
            shared_expert_intermediate_size=None, moe_layer_freq=[1] * 16, moe_router_score_function="softmax",
            moe_router_enable_expert_bias=False, rope_theta=50000, partial_rotary_factor=1, attention_bias=False,
            max_position_embeddings=8192, eos_token_id=156892,
        ),
        None, 7.4, 156895, (156892,), 0,
    ),
    "Dream-7B": (DREAM, "Qwen2", 7.6, 151666, (151643,), 0),
    "DiffuCoder-7B": (DREAM | {"_name_or_path": "apple/DiffuCoder-7B-Base"}, "Qwen2", 7.6, 151666, (151643,), 0),
    "SDAR-8B": (SDAR, "Qwen3", 8.2, 151669, (151643, 151645), 4),
    "TraDo-8B": (SDAR | {"_name_or_path": "Gen-Verse/TraDo-8B-Instruct"}, "Qwen3", 8.2, 151669, (151643, 151645), 4),
    "SDAR-30B-A3B": (
        QWEN3_30B | {"model_type": "sdar_moe", "architectures": ["SDARMoeForCausalLM"], "block_size": 4},
        "Qwen3Moe", 30.5, 151669, (151643, 151645), 4,
    ),
    "Fast-dLLM v2 7B": (
        QWEN25_7B | {"model_type": "Fast_dLLM_Qwen", "bd_size": 32}, "Qwen2", 7.6, 151665, (151645, 151643), 32
    ),
    "Fast-dLLM v2 1.5B": (
        QWEN25_1B5 | {"model_type": "Fast_dLLM_Qwen", "bd_size": 32}, "Qwen2", 1.54, 151665, (151645, 151643), 32
    ),
    "LLaDA2.0-mini": (LLADA2_MINI, None, 16.3, 156895, (156892,), 32),
    "LLaDA2.0-flash": (
        shapes(4096, 9216, 32, 32, 4, 157184, moe_intermediate_size=1024, **LLADA2), None, 102.9, 156895, (156892,), 32
    ),
    "LLaDA2.1-mini": (
        LLADA2_MINI | {"_name_or_path": "inclusionAI/LLaDA2.1-mini"}, None, 16.3, 156895, (156892,), 32
    ),
    "Llama-3-8B": (
        shapes(4096, 14336, 32, 32, 8, 128256, rope_theta=5e5, model_type="llama", eos_token_id=128001),
        "Llama", 8.0, None, (128001,), 1,
    ),
    "Llama-3.2-1B": (
        shapes(
            2048, 8192, 16, 32, 8, 128256, head_dim=64, rope_theta=5e5, model_type="llama", tie_word_embeddings=True,
            eos_token_id=[128001, 128008], max_position_embeddings=131072,
            rope_scaling={
                "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
        ),
        "Llama", 1.24, None, (128001, 128008), 1,
    ),
    "Qwen2.5-7B": (QWEN25_7B | {"model_type": "qwen2", "eos_token_id": 151643}, "Qwen2", 7.6, None, (151643,), 1),
    "Qwen2.5-0.5B": (
        shapes(896, 4864, 24, 14, 2, 151936, rope_theta=1e6, tie_word_embeddings=True, model_type="qwen2"),
        "Qwen2", 0.49, None, (151645, 151643), 1,
    ),
    "Qwen3-0.6B": (
        shapes(
            1024, 3072, 28, 16, 8, 151936, head_dim=128, rope_theta=1e6, tie_word_embeddings=True, model_type="qwen3"
        ),
        "Qwen3", 0.6, None, (151645, 151643), 1,
    ),
    "Qwen3-30B-A3B": (QWEN3_30B | {"model_type": "qwen3_moe"}, "Qwen3Moe", 30.5, None, (151645, 151643), 1),
}  # fmt: skip
