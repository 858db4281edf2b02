"""LoRA adapters: added weights equal PEFT's own merge, and what is not plain LoRA is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from redraft.core.errors import CheckpointError
from redraft.models import load
from tests.kit import kit_dir

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]},
    "every layer, rank-stabilised": {"r": 3, "lora_alpha": 5, "use_rslora": True, "target_modules": "all-linear"},
    "patterns": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "down_proj"],
        "rank_pattern": {"layers.1.self_attn.q_proj": 7},
        "alpha_pattern": {"down_proj": 20, "layers.1.self_attn.q_proj": 3},
    },
    "embedding and a whole head": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["embed_tokens", "o_proj"],
        "modules_to_save": ["lm_head"],
    },
}


def base(tmp_path: Path) -> Any:
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = transformers.Qwen2ForCausalLM(config)
    model.save_pretrained(tmp_path / "base")
    return model


def adapter(model: Any, tmp_path: Path, **settings: Any) -> Any:
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                weight.normal_(std=0.2)
    adapted.save_pretrained(tmp_path / "adapter")
    return adapted


@pytest.mark.parametrize("name", SETTINGS)
def test_equal_to_pefts_merge(name: str, tmp_path: Path) -> None:
    adapted = adapter(base(tmp_path), tmp_path, **SETTINGS[name])
    merged = adapted.merge_and_unload().state_dict()
    ours = load(tmp_path / "base", adapter=tmp_path / "adapter")
    ours.save(tmp_path / "merged")
    found = load_file(tmp_path / "merged" / "model.safetensors")
    plain = load_file(tmp_path / "base" / "model.safetensors")
    assert found.keys() == merged.keys()
    changed = 0
    for key, weight in merged.items():
        torch.testing.assert_close(found[key], weight, rtol=1e-5, atol=1e-6)
        changed += not torch.equal(found[key], plain[key])
    assert changed >= 4


def test_experts_and_fused_projections_are_reached_by_name(tmp_path: Path) -> None:
    folder, module = kit_dir() / "llada2" / "ckpt_s0", "model.layers.1.mlp.experts.3.up_proj"
    a, b = torch.randn(2, 64), torch.randn(32, 2)
    write(tmp_path, {f"base_model.model.{module}.lora_A.weight": a, f"base_model.model.{module}.lora_B.weight": b})
    before, after = load(folder), load(folder, adapter=tmp_path / "adapter")
    delta = after.backbone.layers[1].mlp.up - before.backbone.layers[1].mlp.up
    torch.testing.assert_close(delta[3], b @ a * 2, rtol=1e-4, atol=1e-5)
    assert delta[[0, 1, 2, 4, 5, 6, 7]].abs().max() == 0
    assert torch.equal(after.backbone.layers[1].mlp.down, before.backbone.layers[1].mlp.down)


def write(tmp_path: Path, tensors: dict[str, torch.Tensor], **config: Any) -> None:
    (tmp_path / "adapter").mkdir(exist_ok=True)
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, **config}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    save_file(tensors, tmp_path / "adapter" / "adapter_model.safetensors")


Q = "base_model.model.model.transformer.blocks.0.q_proj"
GOOD = {f"{Q}.lora_A.weight": torch.ones(2, 64), f"{Q}.lora_B.weight": torch.ones(64, 2)}


@pytest.mark.parametrize(
    ("tensors", "config", "sentence"),
    [
        (GOOD, {"use_dora": True}, "'use_dora' = True"),
        (GOOD, {"peft_type": "IA3"}, "'peft_type' = 'IA3'"),
        (GOOD, {"bias": "all"}, "'bias' = 'all'"),
        ({f"{Q}.lora_A.weight": torch.ones(2, 64)}, {}, "only one half of model.transformer.blocks.0.q_proj.weight"),
        ({k: v[:, :1].contiguous() for k, v in GOOD.items()}, {}, "it belongs to another model"),
        (
            {k.replace("blocks.0", "blocks.9"): v for k, v in GOOD.items()},
            {},
            "blocks.9.q_proj.weight, which .* does not have",
        ),
        ({f"{Q}.weight": torch.ones(64, 64)}, {}, "only plain LoRA is read"),
        ({}, {}, "holds no weights"),
    ],
)
def test_refusals(tensors: dict[str, torch.Tensor], config: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    write(tmp_path, tensors, **config)
    with pytest.raises(CheckpointError, match=sentence):
        load(kit_dir() / "llada" / "ckpt_s0", adapter=tmp_path / "adapter")


def test_a_missing_adapter(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="adapter should be a folder"):
        load(kit_dir() / "llada" / "ckpt_s0", adapter=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"adapter_config\.json"):
        load(kit_dir() / "llada" / "ckpt_s0", adapter=tmp_path / "empty")
