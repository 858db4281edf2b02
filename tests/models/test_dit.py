"""MDLM's and BD3-LM's DiT against the logits their own code recorded, and as a model like any other."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import redraft
from redraft.core.errors import CheckpointError, Unsupported
from redraft.core.traits import Traits
from redraft.engine.offline import OfflineExecutor
from redraft.models import Model, dense, known_families, load
from redraft.models.dit import DiT, DiTConfig
from redraft.models.families.mdlm import describe
from tests.models.run import block_causal, logits, two_stream

KIT = Path(__file__).parents[3] / "shared" / "kit" / "train"
needs_kit = pytest.mark.skipif(not KIT.is_dir(), reason="the training kit (../shared/kit/train) is not here")


def kit(family: str) -> tuple[Model, dict[str, Tensor]]:
    return load(KIT / family / "ckpt_s0"), load_file(KIT / family / "train_s0" / "tensors.safetensors")


def at_level(model: Model, ids: Tensor, sigma: Tensor | None) -> Tensor:
    """Logits (B, T, V) with full attention; sigma (B, T)."""
    net: Any = model.backbone
    b, t = ids.shape
    with torch.inference_mode():
        hidden = net(
            net.embed(ids.flatten()),
            torch.arange(t).repeat(b),
            dense(None, b),
            None if sigma is None else sigma.flatten(),
        )
        return net.head(hidden).view(b, t, -1)


@needs_kit
def test_mdlm_logits_at_two_noise_levels() -> None:
    model, want = kit("mdlm")
    xt = want["xt"]
    for sigma, name in ((None, "logits_sigma0"), (0.0, "logits_sigma0"), (0.7, "logits_sigma0.7")):
        given = None if sigma is None else torch.full(xt.shape, sigma)
        assert (at_level(model, xt, given) - want[name]).abs().max() <= 1e-4
    assert (want["logits_sigma0"] - want["logits_sigma0.7"]).abs().max() > 1e-2


@needs_kit
def test_each_packed_token_has_its_own_level() -> None:
    model, want = kit("mdlm")
    sigma = torch.tensor([0.0, 0.7])[:, None].expand(2, 16)
    mixed = at_level(model, want["xt"], sigma)
    assert (mixed[0] - want["logits_sigma0"][0]).abs().max() <= 1e-4
    assert (mixed[1] - want["logits_sigma0.7"][1]).abs().max() <= 1e-4


@needs_kit
def test_bd3lm_logits_in_training_and_sampling() -> None:
    model, want = kit("bd3lm")
    xt, x0 = want["xt"], want["x0"]
    pos = torch.arange(16).repeat(2, 2)
    both = logits(model.backbone, torch.cat((xt, x0), 1), two_stream(16, 4), pos)
    assert (both[:, :16] - want["logits_train"]).abs().max() <= 1e-4
    # sampling is block-causal on one stream, and a prefix's logits do not know what follows
    full = logits(model.backbone, xt, block_causal(16, 4))
    assert (full - want["logits_sample_mode_full"]).abs().max() <= 1e-4
    assert (full[:, :8] - want["logits_sample_mode_prefix8"]).abs().max() <= 1e-4


@needs_kit
def test_what_the_checkpoints_are() -> None:
    mdlm, bd3lm = load(KIT / "mdlm" / "ckpt_s0"), load(KIT / "bd3lm" / "ckpt_s0")
    assert mdlm.traits == Traits(mask=255, eos=(), vocab=256, context=16)
    assert bd3lm.traits == Traits(mask=255, eos=(), vocab=256, attention="block", block=4, context=16)
    assert (mdlm.family, bd3lm.family) == ("mdlm", "bd3lm")
    assert not mdlm.backbone.conditioned and not bd3lm.backbone.conditioned


@needs_kit
@pytest.mark.parametrize("family", ["mdlm", "bd3lm"])
def test_saved_bit_for_bit(family: str, tmp_path: Path) -> None:
    folder = KIT / family / "ckpt_s0"
    load(folder).save(tmp_path / "saved")
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "saved" / "model.safetensors")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads((tmp_path / "saved" / "config.json").read_text()) == json.loads(
        (folder / "config.json").read_text()
    )


@needs_kit
@pytest.mark.parametrize(("family", "method"), [("mdlm", "llada"), ("mdlm", "fast_dllm"), ("bd3lm", "sdar")])
def test_they_decode(family: str, method: str) -> None:
    model = load(KIT / family / "ckpt_s0")
    out = redraft.generate(model, [[5, 6, 7, 8]], method=method, max_new_tokens=12)[0]
    assert len(out.tokens) == 12 and 255 not in out.tokens
    again = redraft.generate(model, [[5, 6, 7, 8]], method=method, max_new_tokens=12)[0]
    assert out.tokens == again.tokens


@needs_kit
def test_argmax_sampler_ends_where_the_recorded_one_does() -> None:
    """MDLM's ancestral sampler with argmax in place of the draw: 255 wins until the last of 16 steps, then 99."""
    meta = json.loads((KIT / "mdlm" / "sample_ddpm_argmax_s0" / "meta.json").read_text())
    model, state = load(KIT / "mdlm" / "ckpt_s0"), torch.tensor(meta["states"][0])
    times = torch.linspace(1, 1e-5, 17)
    for i, want in enumerate(meta["states"][1:]):
        t, s = (float((1 - 1e-3) * times[j]) for j in (i, i + 1))
        p = at_level(model, state, None).clone()
        p[..., 255] = float("-inf")
        q = p.softmax(-1) * (t - s)
        q[..., 255] = s
        state = torch.where(state == 255, q.argmax(-1), state)
        assert state.tolist() == want


def scratch(**change: Any) -> DiT:
    torch.manual_seed(0)
    net = DiT(DiTConfig(**{"vocab_size": 40, "hidden_size": 32, "num_layers": 2, "num_heads": 4, **change}))
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return net


FORMS: list[dict[str, Any]] = [{}, {"conditioned": True, "cond_size": 8}, {"adaptive": False}, {"dropout": 0.1}]


@pytest.mark.parametrize("change", FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("noise", ["mask", "uniform"])
def test_from_scratch_round_trip(change: dict[str, Any], noise: Any, tmp_path: Path) -> None:
    net = scratch(**change)
    traits = Traits(mask=39 if noise == "mask" else None, eos=(1, 2), vocab=40, noise=noise, context=64)
    Model(net, traits, "mdlm", describe(net.config, traits)).save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.traits == traits and again.backbone.config == net.config
    assert again.backbone.conditioned == change.get("conditioned", False)
    mine, theirs = net.state_dict(), again.backbone.state_dict()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_starts_uniform_and_learns() -> None:
    torch.manual_seed(0)
    net = DiT(DiTConfig(40, 32, 2, 4))
    ids = torch.randint(0, 40, (2, 6))
    assert not logits(net, ids).any()
    loss = torch.nn.functional.cross_entropy(
        net.head(net(net.embed(ids.flatten()), torch.arange(6).repeat(2), dense(None, 2))), ids.flatten()
    )
    loss.backward()
    assert net.lm_head.weight.grad is not None and bool(net.lm_head.weight.grad.any())


def test_without_adaptive_norms_there_is_no_level() -> None:
    net = scratch(adaptive=False, conditioned=True)
    assert not net.conditioned
    x, pos = net.embed(torch.arange(6)), torch.arange(6)
    with torch.inference_mode():
        assert torch.equal(net(x, pos, dense(None, 1)), net(x, pos, dense(None, 1), torch.full((6,), 0.7)))


def test_decoding_tells_the_share_of_masks() -> None:
    net = scratch(conditioned=True)
    told: list[tuple[float, float]] = []
    forward = net.forward

    def listen(x: Tensor, pos: Tensor, attend: Any, sigma: Tensor | None = None) -> Tensor:
        assert sigma is not None and len(sigma) == len(x)
        told.append((float(sigma.min()), float(sigma.max())))
        return forward(x, pos, attend, sigma)

    net.forward = listen  # type: ignore[method-assign]
    traits = Traits(mask=39, eos=(), vocab=40, context=64)
    model = Model(net.eval(), traits, "mdlm", describe(net.config, traits))
    redraft.generate(model, [[5, 6, 7, 8]], method="llada(steps=4, block=-1)", max_new_tokens=12)
    want = [-math.log(alpha) for alpha in (4 / 16, 7 / 16, 10 / 16, 13 / 16)]
    assert [one for one, _ in told] == pytest.approx(want, rel=1e-5) and all(low == high for low, high in told)
    uniform = dataclasses.replace(traits, mask=None, noise="uniform")
    with pytest.raises(Unsupported, match="noise level"):
        OfflineExecutor(net, uniform)  # type: ignore[arg-type]


def test_a_sure_distribution_softens_to_its_tokens_embedding() -> None:
    net, ids = scratch(), torch.arange(40)
    assert torch.equal(net.soften(torch.eye(40)), net.embed(ids))


def test_bfloat16_is_near_float32() -> None:
    net = scratch().eval()
    ids = torch.randint(0, 40, (1, 8))
    wide = logits(net, ids)
    narrow = logits(net.bfloat16(), ids).float()
    assert narrow.isfinite().all() and (wide - narrow).abs().max() < 0.1 * wide.abs().max()


def test_wrap_shares_the_parameters_of_a_model_in_memory() -> None:
    class Config:
        def to_dict(self) -> dict[str, Any]:
            net = scratch()
            return describe(net.config, Traits(mask=39, eos=(), vocab=40, context=64))

    class Theirs(torch.nn.Module):  # the published modules' names
        def __init__(self) -> None:
            super().__init__()
            self.config = Config()
            for name, weight in scratch().state_dict().items():
                path = known_families()["mdlm"].theirs(name)[0].split(".")
                place: torch.nn.Module = self
                for part in path[:-1]:
                    if part not in dict(place.named_children()):
                        place.add_module(part, torch.nn.Module())
                    place = place.get_submodule(part)
                place.register_parameter(path[-1], torch.nn.Parameter(weight))

    theirs = Theirs()
    model = redraft.wrap(theirs)
    weight = theirs.get_parameter("backbone.output_layer.linear.weight")
    assert model.backbone.head_weight is weight
    assert torch.equal(logits(model.backbone, torch.arange(6)[None]), logits(scratch(), torch.arange(6)[None]))


BAD: dict[str, dict[str, Any]] = {
    "n_heads": {"n_heads": 3},
    "dropout": {"dropout": 1.5},
    "hidden_dim": {"hidden_dim": None},
    "time_conditioning": {"time_conditioning": "yes"},
    "place for": {"adaln": False},
    "shape": {"cond_dim": 9},
}


@pytest.mark.parametrize("word", BAD)
def test_a_wrong_config_is_refused_in_a_sentence(word: str, tmp_path: Path) -> None:
    net = scratch()
    traits = Traits(mask=39, eos=(), vocab=40, context=64)
    Model(net, traits, "mdlm", describe(net.config, traits)).save(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text()) | BAD[word]
    (tmp_path / "saved" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=word):
        load(tmp_path / "saved")
