"""A saved model is an ordinary folder that loads bit for bit, or nothing is written at all."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import redraft.models.files as files
from redraft.core.errors import BadInput
from redraft.core.traits import Traits
from redraft.models import Backbone, BackboneConfig, Model, MoEConfig, load
from redraft.models.families.redraft import describe
from tests.kit import kit_dir

FOLDERS = sorted(kit_dir().glob("*/ckpt_*"))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("folder", FOLDERS, ids=[f"{one.parent.name}/{one.name}" for one in FOLDERS])
def test_every_kit_checkpoint_comes_back_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    model.save(tmp_path / "saved")
    before, after = tensors(folder), tensors(tmp_path / "saved")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)
    for name in ("config.json", "generation_config.json"):
        if (folder / name).exists():
            assert json.loads((folder / name).read_text()) == json.loads((tmp_path / "saved" / name).read_text())
    again = load(tmp_path / "saved")
    assert again.traits == model.traits and again.family == model.family


def test_shards_and_their_index(tmp_path: Path) -> None:
    folder = kit_dir() / "llada_moe" / "ckpt_s0"
    load(folder).save(tmp_path / "saved", shard=50_000)
    parts = sorted((tmp_path / "saved").glob("*.safetensors"))
    index = json.loads((tmp_path / "saved" / "model.safetensors.index.json").read_text())
    assert len(parts) > 3 and not (tmp_path / "saved" / "model.safetensors").exists()
    assert set(index["weight_map"].values()) == {part.name for part in parts}
    for part in parts:
        with safe_open(part, "pt") as shard:
            held = set(shard.keys())
            assert held == {name for name, file in index["weight_map"].items() if file == part.name}
            assert len(held) == 1 or part.stat().st_size < 55_000
    before, after = tensors(folder), tensors(tmp_path / "saved")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert index["metadata"]["total_size"] == sum(one.numel() * one.element_size() for one in before.values())
    again = load(tmp_path / "saved")
    assert torch.equal(again.backbone.layers[1].mlp.down, load(folder).backbone.layers[1].mlp.down)


def test_what_was_changed_after_loading_is_kept(tmp_path: Path) -> None:
    model = load(kit_dir() / "llada2" / "ckpt_s0", mask_id=255, block=8, eos_id=[254, 7], dtype="bfloat16")
    model.traits = dataclasses.replace(model.traits, edits=True)
    model.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.traits == model.traits and again.traits.mask == 255 and again.traits.block == 8
    assert again.dtype == torch.bfloat16 and torch.equal(again.backbone.head_weight, model.backbone.head_weight)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert (config.get("dtype") or config["torch_dtype"]) == "bfloat16"
    # the bias that orders experts stays float32: bfloat16 would reorder them
    bias = again.backbone.layers[1].mlp.router.bias
    assert bias.dtype == torch.float32 and torch.equal(
        bias, load(kit_dir() / "llada2" / "ckpt_s0").backbone.layers[1].mlp.router.bias
    )


def small(**change: Any) -> Model:
    torch.manual_seed(0)
    config = BackboneConfig(
        **{
            "vocab_size": 50,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_layers": 2,
            "num_heads": 4,
            "num_kv_heads": 2,
            "head_dim": 8,
            **change,
        }
    )
    traits = Traits(mask=49, eos=(48,), vocab=50, attention="block", block=8, context=128)
    net = Backbone(config)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return Model(net, traits, "redraft", describe(config, traits), name="small")


SHAPES = [
    {},
    {"tie_embeddings": True, "qk_norm": True, "rope_theta": 5e4},
    {"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "norm": "layer", "norm_bias": True},
    {"moe": MoEConfig(4, 2, 16, shared_size=8, bias=True, dense_layers=frozenset({0})), "fused_qkv": True},
    {"norm_bias": True, "head_bias": True, "out_bias": True, "mlp_bias": True},
]


@pytest.mark.parametrize("change", SHAPES, ids=range(len(SHAPES)))
def test_models_trained_from_scratch_round_trip(change: dict[str, Any], tmp_path: Path) -> None:
    model = small(**change)
    model.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert (
        again.backbone.config == model.backbone.config and again.traits == model.traits and again.config == model.config
    )
    for name, weight in model.backbone.state_dict().items():
        assert torch.equal(weight, again.backbone.get_parameter(name))


def test_an_error_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    model.save(tmp_path / "here")
    before = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}

    def full(*args: Any, **kwargs: Any) -> None:
        Path(args[1]).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    for name in ("here", "new"):
        with pytest.raises(BadInput, match=r"could not be written .*No space left.* nothing was left behind"):
            model.save(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"here"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()} == before


def test_an_error_while_renaming_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    model.save(tmp_path / "here")
    real = files.os.replace

    def once(source: Any, target: Any) -> None:
        if str(target).endswith("here") and ".part" in str(source) and not str(source).endswith(".old"):
            raise OSError(5, "Input/output error")
        real(source, target)

    monkeypatch.setattr(files.os, "replace", once)
    with pytest.raises(BadInput, match="Input/output error"):
        model.save(tmp_path / "here")
    assert {path.name for path in tmp_path.iterdir()} == {"here"}
    assert load(tmp_path / "here").traits == model.traits


def test_saving_over_a_model_replaces_it_and_over_anything_else_is_refused(tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / "here", shard=1000)
    model.save(tmp_path / "here")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["config.json", "model.safetensors"]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="something else"):
        model.save(tmp_path / "notes")
    with pytest.raises(BadInput, match="something else"):
        model.save(tmp_path / "notes" / "thesis.txt")
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "mine"


def test_moving_keeps_the_bias_that_orders_experts(tmp_path: Path) -> None:
    model = small(moe=MoEConfig(4, 2, 16, bias=True))
    bias = model.backbone.layers[0].mlp.router.bias.clone()
    assert model.to("bfloat16") is model and model.dtype == torch.bfloat16
    assert torch.equal(model.backbone.layers[0].mlp.router.bias, bias)
    model.to(torch.float32).to("cpu")
    assert model.dtype == torch.float32 and model.device.type == "cpu"
    for wrong, sentence in (("float16", "hundred times"), (torch.int8, "int8"), ("moon", "moon")):
        with pytest.raises(BadInput, match=sentence):
            model.to(wrong)


def test_saved_files_are_readable_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        load("redraft-tiny").save(tmp_path / "copy")
    finally:
        os.umask(old)
    assert {oct(file.stat().st_mode & 0o777) for file in (tmp_path / "copy").iterdir()} == {"0o644"}
