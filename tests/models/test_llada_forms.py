"""Forms of LLaDA that its config class can write, against transformers' Llama with the same weights renamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from redraft.models import load
from tests.models.run import logits

transformers = pytest.importorskip("transformers")

NAMES = {
    "model.embed_tokens": "model.transformer.wte",
    "model.norm": "model.transformer.ln_f",
    "lm_head": "model.transformer.ff_out",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ff_norm",
    "self_attn.q_proj": "q_proj",
    "self_attn.k_proj": "k_proj",
    "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out",
    "mlp.gate_proj": "ff_proj",
    "mlp.up_proj": "up_proj",
    "mlp.down_proj": "ff_out",
    "model.layers": "model.transformer.blocks",
}
BASE = {
    "model_type": "llada",
    "architectures": ["LLaDAModelLM"],
    "block_type": "llama",
    "activation_type": "silu",
    "d_model": 48,
    "n_heads": 4,
    "n_kv_heads": 2,
    "n_layers": 2,
    "mlp_hidden_size": 80,
    "vocab_size": 90,
    "embedding_size": 128,
    "max_sequence_length": 64,
    "rope": True,
    "rope_theta": 20000.0,
    "layer_norm_type": "rms",
    "rms_norm_eps": 1e-4,
    "layer_norm_with_affine": True,
    "weight_tying": False,
    "include_bias": False,
    "include_qkv_bias": False,
}
FORMS: dict[str, dict[str, Any]] = {
    "untied": {},
    "tied": {"weight_tying": True},
    "multi-query": {"n_kv_heads": None, "multi_query_attention": True},
    "as many as queries": {"n_kv_heads": None},
    "inner size by ratio": {"mlp_hidden_size": None, "mlp_ratio": 3},
    "one size of vocabulary": {"embedding_size": None},
    "scaled embeddings": {"input_emb_norm": True},
    "biases": {"include_bias": True, "weight_tying": True, "bias_for_layer_norm": False},
    "biases everywhere": {"include_bias": True},
    "layer norm": {"layer_norm_type": "default"},
    "layer norm with bias": {"layer_norm_type": "low_precision", "bias_for_layer_norm": True},
    "norms without weights": {"layer_norm_with_affine": False},
}


def oracle(raw: dict[str, Any]) -> nn.Module:
    """Llama with what LLaDA has and it has not put in place: other norms, head bias, scaled embeddings."""
    bias, width = raw["include_bias"], raw["d_model"]
    kv = raw["n_kv_heads"] or (1 if raw.get("multi_query_attention") else raw["n_heads"])
    config = transformers.LlamaConfig(
        vocab_size=raw["embedding_size"] or raw["vocab_size"],
        hidden_size=width,
        intermediate_size=raw["mlp_hidden_size"] or raw["mlp_ratio"] * width,
        num_hidden_layers=raw["n_layers"],
        num_attention_heads=raw["n_heads"],
        num_key_value_heads=kv,
        attention_bias=bias,
        mlp_bias=bias,
        rms_norm_eps=raw["rms_norm_eps"],
        rope_theta=raw["rope_theta"],
        tie_word_embeddings=raw["weight_tying"],
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    shift = raw.get("bias_for_layer_norm", bias) and raw["layer_norm_with_affine"]

    def norm() -> nn.Module:
        if raw["layer_norm_type"] == "rms":
            return Shifted(nn.RMSNorm(width, raw["rms_norm_eps"], raw["layer_norm_with_affine"]), width if shift else 0)
        return nn.LayerNorm(width, 1e-5, raw["layer_norm_with_affine"], bias=bool(shift))

    for layer in model.model.layers:
        layer.input_layernorm, layer.post_attention_layernorm = norm(), norm()
    model.model.norm = norm()
    if bias and not raw["weight_tying"]:
        model.lm_head = nn.Linear(width, config.vocab_size)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model


class Shifted(nn.Module):
    def __init__(self, norm: nn.RMSNorm, size: int) -> None:
        super().__init__()
        self.norm, self.bias = norm, nn.Parameter(torch.zeros(size)) if size else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.norm(x)
        return out if self.bias is None else out + self.bias


@pytest.mark.parametrize("form", FORMS)
def test_equal_to_llama_with_the_same_weights(form: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    raw = BASE | FORMS[form]
    model = oracle(raw)
    held = {}
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and raw["weight_tying"]:
            continue
        for old, new in NAMES.items():
            name = name.replace(old, new)
        held[name.replace(".norm.weight", ".weight")] = weight.contiguous()
    (tmp_path / "config.json").write_text(json.dumps(raw))
    save_file(held, tmp_path / "model.safetensors")
    ids = torch.randint(0, 90, (2, 20))
    with torch.inference_mode():
        embedded = model.get_input_embeddings()(ids) * (raw["d_model"] ** 0.5 if raw.get("input_emb_norm") else 1.0)
        want = model(inputs_embeds=embedded, attention_mask=torch.zeros(2, 1, 20, 20)).logits
    ours = load(tmp_path)
    assert ours.traits.vocab == 90 and ours.traits.context == 64 and ours.traits.mask is None
    assert (logits(ours.backbone, ids) - want).abs().max() <= 1e-4
