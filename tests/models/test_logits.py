"""Logits and hidden states of every family against those of the reference implementations (the kit's logits cases)."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from redraft.models import Model, load
from tests.kit import cases
from tests.models.run import block_causal, hidden, layerwise, logits, two_stream, with_stale_keys

CASES = {folder.parent.name + "/" + folder.name: (folder, meta) for folder, meta in cases("logits")}
NAMES = [
    (case, name) for case, (folder, _) in CASES.items() for name in sorted(load_file(folder / "tensors.safetensors"))
]
COMPARED = [
    (c, n) for c, n in NAMES if n.startswith(("logits_", "hidden_states_", "router_logits_")) or n == "train_logits"
]


@cache
def case(name: str) -> tuple[Model, dict[str, Tensor], dict[str, Any]]:
    folder, meta = CASES[name]
    model = load((folder.parent / meta["ckpt"]).resolve())
    return model, load_file(folder / "tensors.safetensors"), meta


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    worst = (found - expected).abs().max().item()
    assert worst <= 1e-4, f"logits differ by {worst:.2e}"


def block_of(name: str, length: int) -> Tensor | None:
    """The mask a tensor's name tells of: bc8, b8, blockcausal8, else everything is seen."""
    tail = name.rsplit("_", 1)[-1]
    digits = re.sub("^[a-z]+", "", tail)
    return block_causal(length, int(digits)) if digits.isdigit() else None


@pytest.mark.parametrize(("name", "tensor"), COMPARED, ids=["/".join(pair) for pair in COMPARED])
def test_equal_to_the_reference(name: str, tensor: str) -> None:
    model, kit, meta = case(name)
    net, expected = model.backbone, kit[tensor]
    if tensor.startswith(("logits_full", "logits_prefix", "logits_dual")):
        full = kit["ids"]
        new = kit["ids_edited"] if tensor.endswith("edited") else full
        start, end = meta["block"]
        if tensor == "logits_full":
            found = logits(net, full)
        else:
            found = with_stale_keys(net, full, new, start, end if "dual" in tensor else full.shape[1], None)
    elif tensor in ("logits_block2_cached", "logits_sub_40_48_blockcache"):
        # recorded with block 1 of the plain ids in the cache and block 2 of the masked ids
        old = torch.cat((kit["ids_plain"][:, :32], kit["ids_masked"][:, 32:]), 1)
        start, end = (32, 64) if "block2" in tensor else (40, 48)
        new = old.clone()
        if "sub" in tensor:
            new[:, start:end] = kit["ids_sub_40_48_edited"]
        found = with_stale_keys(net, old, new, start, end, block_causal(64, 32)[0])
    elif tensor == "logits_train_xt_x0_B4":
        ids = torch.cat((kit["ids_masked"], kit["ids_plain"]), 1)
        assert torch.equal(kit["train_mask_L32_B4"].bool(), two_stream(32, 4)[0])
        found = logits(net, ids, two_stream(32, 4), torch.arange(32).repeat(2)[None])
    elif tensor == "train_logits":
        ids = kit["train_input_ids"]
        half = ids.shape[1] // 2
        pos = torch.arange(half).repeat(2).expand(len(ids), -1)
        found = logits(net, ids, two_stream(half, model.traits.block), pos)[:, :half]
    elif tensor == "logits_padded":
        kept = kit["attention_mask_padded"].bool()
        seen = kept[:, None, :].expand(-1, kept.shape[1], -1)
        found = logits(net, kit["ids_padded"], seen, kit.get("tok_idx_padded"))
        found, expected = found[kept], expected[kept]
    elif tensor.startswith("hidden_states_"):
        ids = kit["ids_masked"]
        found = torch.stack(layerwise(net, lambda: hidden(net, ids, block_of(tensor, ids.shape[1]))))
    elif tensor.startswith("router_logits_"):
        found = router(net, kit["ids_masked"], block_of(tensor, kit["ids_masked"].shape[1]))
    else:
        ids = kit["ids_" + tensor.split("_")[1]]
        found = logits(net, ids, block_of(tensor, ids.shape[1]))
    close(found, expected)


def router(net: Any, ids: Tensor, mask: Tensor | None) -> Tensor:
    seen: list[Tensor] = []
    routers = [layer.mlp.router for layer in net.layers if hasattr(layer.mlp, "router")]
    hooks = [one.register_forward_pre_hook(lambda m, args: seen.append(F.linear(args[0], m.weight))) for one in routers]
    hidden(net, ids, mask)
    for hook in hooks:
        hook.remove()
    return torch.stack(seen).unflatten(1, ids.shape)


def test_the_kit_has_logits_of_every_diffusion_family() -> None:
    families = {case(name)[0].family for name in CASES}
    assert families >= {"llada", "llada_moe", "dream", "sdar", "fast_dllm_v2", "llada2"}
    assert len(COMPARED) >= 40


def test_a_difference_is_seen() -> None:
    model, kit, _ = case("llada/logits_s0")
    found = logits(model.backbone, kit["ids_plain"])
    found = found.clone()
    found[0, 3, 7] += 1e-3
    with pytest.raises(AssertionError, match="differ"):
        close(found, kit["logits_plain"])


def test_every_kit_checkpoint_loads() -> None:
    folders = sorted(CASES["llada/logits_s0"][0].parents[1].glob("*/ckpt_*"))
    assert len(folders) >= 9
    for folder in folders:
        model = load(Path(folder), mask_id=255)
        assert model.traits.mask == 255 and model.traits.eos == (254,) and model.traits.vocab == 256
