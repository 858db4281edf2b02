"""Device maps: the same logits wherever the modules lie, and layers spread by the memory there is."""

from __future__ import annotations

import pytest
import torch

from redraft.models import BackboneConfig, load
from redraft.models.place import placement
from redraft.models.weights import build
from tests.kit import kit_dir
from tests.models.run import logits

FOLDER = kit_dir() / "sdar" / "ckpt_s0"
IDS = torch.arange(24)[None]


@pytest.mark.parametrize(
    "table",
    ["auto", {"": "cpu"}, {"embedding": "cpu", "layers": "cpu", "norm": "cpu", "lm_head": "cpu"}],
    ids=["auto", "one", "four"],
)
def test_one_device(table: object) -> None:
    want = logits(load(FOLDER).backbone, IDS)
    net = load(FOLDER, device_map=table).backbone  # type: ignore[arg-type]
    found = logits(net, IDS.to(net.head_weight.device)) if table != "auto" else logits(net.to("cpu"), IDS)
    assert (found - want).abs().max() <= 1e-5


def test_two_devices_are_joined() -> None:
    # "cpu" and "cpu:0" are one device under two names, which is as good as two for the way there
    net = load(FOLDER, device_map={"": "cpu", "layers.1": "cpu:0"}).backbone
    moves: list[int] = []
    for layer in net.layers:
        layer.register_forward_hook(lambda *_: moves.append(1))
        assert len(layer._forward_pre_hooks) == 1
    assert torch.equal(logits(net, IDS), logits(load(FOLDER).backbone, IDS)) and len(moves) == 3


REST = 50 * 32 * 4  # bytes of the embedding


@pytest.mark.parametrize(
    ("free", "expected"),
    [([8, 8], [4, 4]), ([4, 12], [2, 6]), ([8, 8, 8, 8], [2, 2, 2, 2]), ([80, 1], [8, 0]), ([0, 8], [0, 8])],
)
def test_layers_follow_the_free_memory(free: list[int], expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: (free[i] * 10**9 + REST * (i == 0), 0))
    net = build(BackboneConfig(50, 32, 48, 8, 4, 2, 8, tie_embeddings=True))
    place = placement(net, torch.device("cpu"), "auto", torch.float32)
    on = [place(f"layers.{i}.attn.q.weight").index for i in range(8)]
    assert on == sorted(on) and [on.count(gpu) for gpu in range(len(free))] == expected
    assert place("embedding.weight") == place("norm.weight") == torch.device("cuda:0")
