"""Causal LMs of transformers with injected attention: equal to their own forward, and usable as any other model."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import redraft
from redraft.core.errors import BadInput, CheckpointError
from redraft.models import dense, known_families, load, wrap
from redraft.models.injected import Injected, prove
from tests.models.run import logits

transformers = pytest.importorskip("transformers")
from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: E402

SMALL = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
NO_HEAD_DIM = {key: value for key, value in SMALL.items() if key != "head_dim"}
GPT2 = {
    "vocab_size": 97,
    "n_embd": 64,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma": ("Gemma", SMALL),
    "gemma, odd scale": ("Gemma", {**SMALL, "head_dim": 24}),
    "gemma2": ("Gemma2", {**SMALL, "attn_logit_softcapping": None, "sliding_window": 64, "query_pre_attn_scalar": 37}),
    "gemma2, no caps": ("Gemma2", {**SMALL, "attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "gemma3": ("Gemma3Text", {**SMALL, "sliding_window": 64, "query_pre_attn_scalar": 24}),
    "gemma3, both kinds": (
        "Gemma3Text",
        {**SMALL, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "gpt2": ("GPT2", GPT2),
    "gpt2, unscaled": ("GPT2", {**GPT2, "scale_attn_weights": False}),
    "gpt2, by layer": ("GPT2", {**GPT2, "scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False}),
    "llama": ("Llama", NO_HEAD_DIM),
    "qwen2": ("Qwen2", NO_HEAD_DIM),
    "qwen3": ("Qwen3", SMALL),
}
OTHERS = known_families()["causal_lm"].model_types
CHANGES: dict[str, dict[str, Any]] = {
    "granite": {"logits_scaling": 8.0, "attention_multiplier": 0.3, "embedding_multiplier": 12.0},
    "cohere": {"logit_scale": 0.5},
    "mistral": {"sliding_window": 64},
}
FAMILIES = [name for name in CONFIGS if name.startswith(("gemma", "gpt2"))]
MORE = ["mistral", "mixtral", "gpt_neox", "granite", "opt", "phi3"]
IDS = torch.randint(3, 97, (2, 40), generator=torch.Generator().manual_seed(0))
CAUSAL = torch.ones(40, 40, dtype=torch.bool).tril()[None]


def theirs(name: str, **change: Any) -> Any:
    torch.manual_seed(1)
    if name in CONFIGS:
        kind, config = CONFIGS[name]
        made = getattr(transformers, f"{kind}Config")(**config | change)
    else:
        made = CONFIG_MAPPING[name](**NO_HEAD_DIM | CHANGES.get(name, {}) | change)
    model = transformers.AutoModelForCausalLM.from_config(made).eval()
    with torch.no_grad():  # their defaults hide an unread weight: biases are zeros, norms ones
        for key, weight in model.named_parameters():
            if key.endswith("bias") or "norm" in key or ".ln_" in key:
                weight.add_(torch.randn_like(weight) * 0.3)
    return model


def own_forward(model: Any, ids: Tensor = IDS) -> Tensor:
    with torch.inference_mode():
        out: Tensor = model(ids).logits
        return out


@pytest.mark.parametrize("name", [*CONFIGS, *OTHERS])
def test_causal_logits_equal_their_own_forward(name: str) -> None:
    want = own_forward(theirs(name))
    net = Injected(theirs(name))
    assert (logits(net, IDS, CAUSAL) - want).abs().max() <= 1e-5 * want.abs().max().clamp_min(1)
    # full sight reaches every row but the last one's own view of the past
    seen = logits(net, IDS)
    assert (seen - want).abs()[:, :-1].amax(-1).min() > 1e-4
    # and the model still works by itself
    assert (own_forward(net.model) - want).abs().max() <= 1e-5 * want.abs().max().clamp_min(1)


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_injected_and_native_layers_agree_under_any_sight(name: str) -> None:
    mask = torch.rand(2, 40, 40, generator=torch.Generator().manual_seed(3)) < 0.4
    mask |= torch.eye(40, dtype=torch.bool)
    native = logits(wrap(theirs(name)).backbone, IDS, mask)
    assert (logits(Injected(theirs(name)), IDS, mask) - native).abs().max() <= 1e-5 * native.abs().max()


@pytest.mark.parametrize("name", ["gemma", "gemma3", "gpt2"])
def test_packed_documents_do_not_see_each_other(name: str) -> None:
    net = Injected(theirs(name))
    doc = torch.arange(40) // 25
    mask = (doc[:, None] == doc[None])[None]
    pos = torch.cat((torch.arange(25), torch.arange(15))).expand(2, 40)
    packed = logits(net, IDS, mask, pos)
    alone = torch.cat((logits(net, IDS[:, :25]), logits(net, IDS[:, 25:])), 1)
    assert (packed - alone).abs().max() <= 1e-5 * alone.abs().max()
    changed = IDS.clone()
    changed[:, 25:] = 5
    assert torch.equal(logits(net, changed, mask, pos)[:, :25], packed[:, :25])


@pytest.mark.parametrize("name", ["gemma3", "gpt2"])
def test_gradients_are_those_of_their_own_forward(name: str) -> None:
    def gradients(model: Any, out: Tensor) -> dict[str, Tensor]:
        torch.nn.functional.cross_entropy(out.flatten(0, 1), IDS.flatten()).backward()
        return {key: weight.grad for key, weight in model.named_parameters()}

    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} if name == "gpt2" else {}
    model = theirs(name, **still)
    want = gradients(model, model(IDS).logits)
    twin = Injected(theirs(name, **still)).train()
    twin.model.gradient_checkpointing_enable()
    x = twin.embed(IDS.flatten())
    out = twin.head(twin(x, torch.arange(40).repeat(2), dense(CAUSAL, 2)))
    found = gradients(twin.model, out.view(2, 40, -1))
    assert all((found[key] - want[key]).abs().max() <= 1e-5 * want[key].abs().max().clamp_min(1) for key in want)


@pytest.mark.parametrize("name", [*FAMILIES, "mistral", "cohere", "opt"])
def test_a_sure_distribution_softens_to_its_tokens_embedding(name: str) -> None:
    net = Injected(theirs(name))
    sure = torch.nn.functional.one_hot(IDS[0], 97).float()
    assert (net.soften(sure) - net.embed(IDS[0])).abs().max() <= 1e-6 * net.embed(IDS[0]).abs().max()


def test_two_calls_at_once_keep_their_own_sight() -> None:
    from concurrent.futures import ThreadPoolExecutor

    net = Injected(theirs("gpt2"))
    want = [logits(net, IDS, CAUSAL), logits(net, IDS)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: logits(net, IDS, CAUSAL if i % 2 == 0 else None), range(12)))
    assert all(torch.equal(one, want[i % 2]) for i, one in enumerate(found))


@pytest.mark.parametrize("name", [*FAMILIES, *MORE])
def test_load_wrap_and_save(name: str, tmp_path: Path) -> None:
    model = theirs(name)
    want = own_forward(model)
    model.save_pretrained(tmp_path / "theirs")
    loaded = load(tmp_path / "theirs")
    assert (logits(loaded.backbone, IDS, CAUSAL) - want).abs().max() <= 1e-5 * want.abs().max()
    traits = loaded.traits
    assert (traits.attention, traits.shift, traits.block, traits.mask, traits.eos) == ("causal", True, 1, None, (2,))
    windowed = {"gemma2": 64, "gemma3": 64, "gemma3, both kinds": 64, "mistral": 64}
    assert traits.context == (64 if name.startswith("gpt2") else windowed.get(name, 256))

    wrapped = wrap(model)
    assert wrapped.traits == traits and wrapped.family == loaded.family
    assert {id(p) for p in wrapped.backbone.parameters()} == {id(p) for p in model.parameters()}

    loaded.save(tmp_path / "ours")
    again = load(tmp_path / "ours")
    mine, back = loaded.backbone.state_dict(), again.backbone.state_dict()
    assert mine.keys() == back.keys() and all(torch.equal(mine[key], back[key]) for key in mine)
    assert again.traits == traits and again.config == loaded.config
    assert torch.equal(logits(again.backbone, IDS, CAUSAL), logits(loaded.backbone, IDS, CAUSAL))
    assert {one.name for one in (tmp_path / "ours").iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors",
    }  # fmt: skip
    reread = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert (own_forward(reread) - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.parametrize("name", ["gemma3", "gpt2"])
def test_they_decode(name: str) -> None:
    """As they come, left to right as transformers' greedy search does; with other traits, as a diffusion model."""
    model = theirs(name)
    prompt = IDS[:1, :9]
    model.generation_config.eos_token_id = None
    with torch.inference_mode():
        want = model.generate(prompt, max_new_tokens=8, do_sample=False, use_cache=True)[0, 9:].tolist()
    causal = wrap(copy.deepcopy(model), eos_id=-1)
    assert redraft.generate(causal, [prompt[0].tolist()], method="autoregressive", max_new_tokens=8)[0].tokens == want
    import dataclasses

    causal.traits = dataclasses.replace(causal.traits, mask=96, attention="full", block=0)
    for method in ("fast_dllm", "llada"):
        out = redraft.generate(causal, [prompt[0].tolist()], method=method, max_new_tokens=8)[0].tokens
        assert len(out) == 8 and 96 not in out


@pytest.mark.parametrize("name", ["gemma", "gpt2"])
def test_other_traits_survive_saving(name: str, tmp_path: Path) -> None:
    import dataclasses

    model = wrap(theirs(name))
    model.traits = dataclasses.replace(model.traits, mask=96, attention="block", block=4, shift=False)
    model.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.traits == model.traits
    assert torch.equal(logits(again.backbone, IDS), logits(model.backbone, IDS))


def test_a_cast_does_not_round_the_rotary_frequencies(tmp_path: Path) -> None:
    theirs("gemma3").save_pretrained(tmp_path / "model")
    want = load(tmp_path / "model", dtype="bfloat16")
    found = load(tmp_path / "model").to("bfloat16")
    assert found.dtype == torch.bfloat16
    assert torch.equal(logits(found.backbone, IDS), logits(want.backbone, IDS))


def test_what_is_more_than_attention_is_refused() -> None:
    """Heads of another form, mixing between neighbours, attention sinks: all would be silently wrong."""
    net = Injected(theirs("granite"))
    prove(net)
    net.scale = 1.0
    with pytest.raises(CheckpointError, match="beside attention"):
        prove(net)
    mixing = Injected(theirs("llama"))
    mixing.model.model.layers[0].mlp.register_forward_hook(lambda *x: x[2] + torch.roll(x[2], 1, 1) * 0.5)
    with pytest.raises(CheckpointError, match="beside attention"):
        prove(mixing)
    with pytest.raises(CheckpointError, match="one head size in each"):
        Injected(theirs("lfm2", layer_types=["conv", "full_attention", "full_attention"]))
    with pytest.raises(CheckpointError, match="'s_aux'"):
        logits(Injected(theirs("gpt_oss")), IDS)
    training = Injected(theirs("gpt2").train())
    assert prove(training).training and training.model.training


def test_what_cannot_be_injected_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"attn_logit_softcapping.* = 50"):
        Injected(theirs("gemma2", attn_logit_softcapping=50.0))
    theirs("gemma2", attn_logit_softcapping=50.0).save_pretrained(tmp_path / "capped")
    with pytest.raises(CheckpointError, match=r"attn_logit_softcapping.* = 50.*set it to null"):
        load(tmp_path / "capped")
    with pytest.raises(CheckpointError, match="encoder"):
        Injected(theirs("gemma3", use_bidirectional_attention=True))
    with pytest.raises(CheckpointError, match="cross attention"):
        Injected(theirs("gpt2", add_cross_attention=True))


def test_broken_folders_are_refused_in_a_sentence(tmp_path: Path) -> None:
    theirs("gpt2").save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    for change in ({"n_layer": 4}, {"n_layer": 2}, {"n_embd": 32}):
        (tmp_path / "model" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(CheckpointError, match="again"):
            load(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    (tmp_path / "model" / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(CheckpointError, match="again"):
        load(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(weights)
    with pytest.raises(BadInput, match="hundred times"):
        load(tmp_path / "model", dtype="float16")
