"""Causal families against transformers' own classes on small random weights: logits, wrapping, and names on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from redraft.models import load, wrap
from tests.models.run import logits

transformers = pytest.importorskip("transformers")

SMALL = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "initializer_range": 0.2,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MOE = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama, one group": ("Llama", {"num_key_value_heads": 1}),
    "llama, no groups": ("Llama", {"num_key_value_heads": 4}),
    "llama, biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, tied": ("Llama", {"tie_word_embeddings": True}),
    "llama, own head size": ("Llama", {"head_dim": 32}),
    "llama, base": ("Llama", {"rope_theta": 500000.0, "rms_norm_eps": 1e-3}),
    "llama, linear": ("Llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    "llama, llama3": ("Llama", {"rope_scaling": LLAMA3, "rope_theta": 50000.0}),
    "llama, yarn": ("Llama", {"rope_scaling": YARN}),
    "llama, yarn, untouched": ("Llama", {"rope_scaling": {**YARN, "attention_factor": 1.0, "beta_fast": 16}}),
    "llama, yarn, two multipliers": ("Llama", {"rope_scaling": {**YARN, "mscale": 1.5, "mscale_all_dim": 0.7}}),
    "llama, dynamic": ("Llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
    "qwen2": ("Qwen2", {}),
    "qwen2, tied": ("Qwen2", {"tie_word_embeddings": True, "rope_theta": 1e6}),
    "qwen2, window off": ("Qwen2", {"sliding_window": 8, "use_sliding_window": False}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3, biases": ("Qwen3", {"head_dim": 32, "attention_bias": True, "tie_word_embeddings": True}),
    "qwen3 moe": ("Qwen3Moe", {"head_dim": 16, **MOE, "norm_topk_prob": True}),
    "qwen3 moe, weights as they are": ("Qwen3Moe", {"head_dim": 16, **MOE, "norm_topk_prob": False}),
    "qwen3 moe, some dense": ("Qwen3Moe", {"head_dim": 16, **MOE, "mlp_only_layers": [0], "decoder_sparse_step": 2}),
}
IDS = torch.randint(0, 97, (2, 40), generator=torch.Generator().manual_seed(0))


def theirs(kind: str, change: dict[str, Any]) -> Any:
    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(**SMALL | change)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():  # their defaults hide an unread weight: biases are zeros, norms ones
        for name, weight in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                weight.add_(torch.randn_like(weight) * 0.3)
    return model


def expected(model: Any) -> Tensor:
    with torch.inference_mode():
        return model(IDS).logits


CAUSAL = torch.ones(40, 40, dtype=torch.bool).tril()[None]


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_equal_after_loading_and_wrapping(name: str, tmp_path: Path) -> None:
    model = theirs(*CONFIGS[name])
    want = expected(model)
    wrapped = wrap(model)
    assert (logits(wrapped.backbone, IDS, CAUSAL) - want).abs().max() <= 1e-4
    assert (wrapped.traits.attention, wrapped.traits.shift, wrapped.traits.block) == ("causal", True, 1)
    assert wrapped.traits.eos == (2,) and wrapped.traits.mask is None

    model.save_pretrained(tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    assert (logits(loaded.backbone, IDS, CAUSAL) - want).abs().max() <= 1e-4
    assert loaded.traits == wrapped.traits

    loaded.save(tmp_path / "again")  # and transformers reads what redraft writes
    again = type(model).from_pretrained(tmp_path / "again")
    assert torch.equal(expected(again.eval()), want)


@pytest.mark.parametrize("name", ["llama, tied", "qwen3 moe"])
def test_wrapping_shares_the_parameters(name: str) -> None:
    model = theirs(*CONFIGS[name])
    wrapped = wrap(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.01)
    assert (logits(wrapped.backbone, IDS, CAUSAL) - expected(model)).abs().max() <= 1e-4


def test_wrapped_model_is_saved_like_a_loaded_one(tmp_path: Path) -> None:
    model = theirs(*CONFIGS["qwen3 moe"])
    wrap(model).save(tmp_path / "wrapped")
    assert (logits(load(tmp_path / "wrapped").backbone, IDS, CAUSAL) - expected(model)).abs().max() <= 1e-4


def test_bfloat16_is_as_near_to_float32_as_transformers(tmp_path: Path) -> None:
    model = theirs(*CONFIGS["llama"])
    exact = expected(model)
    model.save_pretrained(tmp_path / "saved")
    half = load(tmp_path / "saved", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    ours = (logits(half.backbone, IDS, CAUSAL).float() - exact).abs().mean()
    their = (expected(model.to(torch.bfloat16)).float() - exact).abs().mean()
    assert ours <= 1.1 * their
