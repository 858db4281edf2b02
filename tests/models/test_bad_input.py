"""One clear sentence for every folder, file, name and argument that cannot be used; nothing else is raised."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from redraft.core.errors import BadInput, CheckpointError, RedraftError, Unreachable
from redraft.models import load, wrap
from tests.kit import kit_dir

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(kit_dir() / "sdar" / "ckpt_s0", tmp_path / "model"))


def refused(kind: type[RedraftError], sentence: str, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(kind, match=sentence) as caught:
        load(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text and text.endswith((".", "?")) and len(text) < 400
    assert text.count(". ") == 0 or "..." in text, "one sentence"
    return text


def edit(folder: Path, **change: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))


def tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    held = load_file(folder / WEIGHTS)
    change(held)
    save_file(held, folder / WEIGHTS)


def test_no_such_folder(tmp_path: Path) -> None:
    refused(CheckpointError, "there is no folder", tmp_path / "nowhere")
    refused(CheckpointError, "give a folder, a hub id as owner/name", "nowhere")
    refused(CheckpointError, "did you mean redraft-tiny", "redraft-tinny")
    (tmp_path / "file").write_text("x")
    refused(CheckpointError, "is a file, and a model is a folder", tmp_path / "file")
    (tmp_path / "empty").mkdir()
    refused(CheckpointError, "has no config.json", tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "sentence"), [("{", "cannot be read"), ("[1]", "found list"), ("", "cannot be read")]
)
def test_broken_config(folder: Path, content: str, sentence: str) -> None:
    (folder / "config.json").write_text(content)
    refused(CheckpointError, sentence, folder)


def test_missing_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    refused(CheckpointError, "should hold model.safetensors or shards", folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickles_are_never_opened(folder: Path, name: str) -> None:
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(b"\x80\x04.")  # would fail differently if anybody opened it
    refused(CheckpointError, f"{name}, a pickle that can run code and is never opened", folder)


@pytest.mark.parametrize("left", [0, 4, 100, 5000, -1])
def test_truncated_weights(folder: Path, left: int) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:left])
    refused(CheckpointError, "truncated or corrupt", folder)


def test_corrupt_header(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[8:60] = b"\xff" * 52
    (folder / WEIGHTS).write_bytes(content)
    refused(CheckpointError, "truncated or corrupt", folder)


def test_missing_left_over_and_wrongly_shaped_tensors(folder: Path) -> None:
    tensors(folder, lambda held: held.pop("model.layers.1.mlp.up_proj.weight"))
    refused(CheckpointError, "lacks 1 of the 36 tensors .* such as model.layers.1.mlp.up_proj.weight", folder)
    tensors(folder, lambda held: held.update({"model.layers.1.mlp.up_proj.weight": torch.zeros(96, 32)}))
    refused(CheckpointError, r"up_proj.weight of shape \[96, 32\], and config.json asks for \[96, 64\]", folder)
    tensors(
        folder,
        lambda held: held.update({"model.layers.1.mlp.up_proj.weight": torch.zeros(96, 64), "extra": torch.ones(1)}),
    )
    refused(CheckpointError, "holds 1 tensors its config.json has no place for, such as extra", folder)


def test_index_and_shards(tmp_path: Path) -> None:
    load(kit_dir() / "sdar" / "ckpt_s0").save(tmp_path / "model", shard=40_000)
    folder, parts = tmp_path / "model", sorted((tmp_path / "model").glob("*.safetensors"))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    moved = parts[1].rename(tmp_path / "away")
    refused(CheckpointError, f"lacks {parts[1].name}, which its index names", folder)
    moved.rename(parts[1])
    index["weight_map"]["ghost"] = parts[0].name
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(CheckpointError, "its index lists, such as ghost", folder)
    index["weight_map"] = {"ghost": "../away.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(CheckpointError, "not a file of this folder", folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    refused(CheckpointError, "weight_map", folder)


def test_tied_heads_that_differ(folder: Path) -> None:
    edit(folder, tie_word_embeddings=True)
    refused(CheckpointError, "tie_word_embeddings to false", folder)
    tensors(folder, lambda held: held.update({"lm_head.weight": held["model.embed_tokens.weight"].clone()}))
    assert load(folder).backbone.config.tie_embeddings
    tensors(folder, lambda held: held.pop("model.embed_tokens.weight"))
    assert load(folder).backbone.config.tie_embeddings


def test_unknown_families(folder: Path) -> None:
    edit(folder, architectures=None, model_type="sdarr", auto_map=...)
    refused(CheckpointError, "no model family is named 'sdarr'; did you mean sdar", folder)
    edit(folder, model_type="bert", auto_map={"AutoModel": "modeling_bert.Bert"})
    refused(CheckpointError, "code in the checkpoint, which redraft never runs", folder)
    edit(folder, model_type=...)
    refused(CheckpointError, "must name its 'model_type'", folder)


@pytest.mark.parametrize("where", ["architectures", "model_type"])
def test_llada_moe_is_known_by_its_architecture(where: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(kit_dir() / "llada_moe" / "ckpt_s0", tmp_path / "model"))
    edit(folder, **({"model_type": "llada"} if where == "architectures" else {"architectures": None}))
    assert load(folder).family == "llada_moe"


def test_code_in_a_known_checkpoint_is_not_run(folder: Path) -> None:
    (folder / "modeling_sdar.py").write_text("raise SystemExit('this ran')")
    edit(
        folder,
        auto_map={"AutoModelForCausalLM": "modeling_sdar.SDARForCausalLM", "AutoTokenizer": ["modeling_sdar.T", None]},
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["modeling_sdar.T", None]}})
    )
    model = load(folder)
    assert model.tokenizer is None
    with pytest.raises(BadInput, match="no tokenizer that can be read without running its code; give token ids"):
        model.encode("text")


CHANGED = [
    ("sdar", {"hidden_act": "gelu"}),
    ("sdar", {"use_sliding_window": True}),
    ("sdar", {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
    ("sdar", {"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}),
    ("sdar", {"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}),
    ("sdar", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "truncate": False}}),
    ("sdar", {"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}),
    ("sdar", {"num_key_value_heads": 3}),
    ("sdar", {"num_hidden_layers": ...}),
    ("sdar", {"hidden_size": "64"}),
    ("sdar", {"attention_bias": "yes"}),
    ("sdar", {"quantization_config": {"quant_method": "gptq"}}),
    ("dream", {"use_mrope": True}),
    ("llada", {"alibi": True}),
    ("llada", {"rope": False}),
    ("llada", {"block_type": "sequential"}),
    ("llada", {"activation_type": "swiglu"}),
    ("llada", {"attention_layer_norm": True}),
    ("llada", {"scale_logits": True}),
    ("llada", {"layer_norm_type": "gemma_rms"}),
    ("llada", {"block_group_size": 3}),
    ("llada_moe", {"clip_qkv": 8.0}),
    ("llada_moe", {"moe_router_enable_expert_bias": True}),
    ("llada_moe", {"moe_router_score_function": "sigmoid"}),
    ("llada_moe", {"moe_layer_freq": [1, 1]}),
    ("llada2", {"score_function": "softmax"}),
    ("llada2", {"norm_head": True}),
    ("llada2", {"hidden_act": "relu"}),
    ("llada2", {"n_group": 3}),
    ("llada2", {"topk_group": 1, "num_experts_per_tok": 4}),
    ("llada2", {"partial_rotary_factor": 0.45}),
    ("llada_moe", {"num_experts_per_tok": 9}),
    ("llada", {"n_heads": 5}),
    ("llada", {"n_kv_heads": 3}),
]


@pytest.mark.parametrize(
    ("family", "change"), CHANGED, ids=[f"{f} {json.dumps(c, default=str)[:50]}" for f, c in CHANGED]
)
def test_a_config_that_changes_the_mathematics_is_refused_by_key(
    family: str, change: dict[str, Any], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(kit_dir() / family / "ckpt_s0", tmp_path / "model"))
    edit(folder, **change)
    key = next(iter(change))
    text = refused(CheckpointError, ".", folder)
    assert any(one in text for one in (key, "rope_scaling", "truncate", "rotary", "quantised", "experts", "rotated"))


def test_number_types(folder: Path) -> None:
    refused(BadInput, "float16 on the CPU is about a hundred times slower", folder, dtype="float16")
    refused(BadInput, "found 'int8'", folder, dtype="int8")
    assert load(folder, dtype=torch.float64).dtype == torch.float64
    tensors(folder, lambda held: held.update({name: one.half() for name, one in held.items()}))
    refused(BadInput, "pass dtype='float32' or dtype='bfloat16'", folder)
    assert load(folder, dtype="float32").dtype == torch.float32
    tensors(folder, lambda held: held.update({"lm_head.weight": torch.ones(256, 64, dtype=torch.int8)}))
    refused(CheckpointError, "lm_head.weight as I8", folder)


def test_arguments(folder: Path) -> None:
    refused(BadInput, "mask_id should be a token id from 0 to 255", folder, mask_id=256)
    refused(BadInput, "eos_id should be a token id", folder, eos_id=[3, 300])
    refused(BadInput, "block should be a whole number of tokens above 0, found 0", folder, block=0)
    refused(BadInput, "device should be one this machine has, such as 'cpu', found 'moon'", folder, device="moon")
    refused(BadInput, "device_map should be 'auto' or a table", folder, device_map="balanced")
    refused(BadInput, "'layer.0', which is not a module", folder, device_map={"layer.0": "cpu"})
    refused(BadInput, "device_map leaves out layers.1", folder, device_map={"embedding": "cpu", "layers.0": "cpu"})
    assert load(folder, eos_id=-1).traits.eos == ()
    if not torch.cuda.is_available():
        refused(BadInput, "device should be one this machine has", folder, device="cuda:0")


def test_the_model_in_the_box_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import redraft.models.hub as hub

    monkeypatch.setattr(hub.resources, "files", lambda _: tmp_path)
    refused(CheckpointError, "lacks the packaged model 'redraft-tiny'", "redraft-tiny")


def test_offline_says_so_at_once() -> None:
    start = time.monotonic()
    refused(Unreachable, "HF_HUB_OFFLINE forbids asking the hub", "GSAI-ML/LLaDA-8B-Instruct")
    assert time.monotonic() - start < 3


def test_an_unreachable_hub_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    import huggingface_hub.hf_api as hf_api

    monkeypatch.setattr(hf_api.constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    start = time.monotonic()
    text = refused(Unreachable, "the hub did not answer", "owner/model")
    assert time.monotonic() - start < 10 and re.search("local folder", text)


def test_wrap_takes_only_models_it_knows() -> None:
    with pytest.raises(BadInput, match="found Linear"):
        wrap(torch.nn.Linear(2, 2))
