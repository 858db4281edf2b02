"""Every published configuration builds on the meta device, with every weight name of its checkpoint and none left over.

The expected names come from transformers' own classes where it has the shapes, else from the tables below, which list
the names of the checkpoints by hand.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from redraft.models.family import family_of
from redraft.models.load import traits_of
from redraft.models.weights import _is_stack, build, names_of
from tests.models.published_configs import PUBLISHED

Shapes = dict[str, tuple[int, ...]]

LLADA_NAMES = """
model.transformer.wte.weight V D
model.transformer.ln_f.weight D
model.transformer.ff_out.weight V D
model.transformer.blocks.*.attn_norm.weight D
model.transformer.blocks.*.ff_norm.weight D
model.transformer.blocks.*.q_proj.weight D D
model.transformer.blocks.*.k_proj.weight D D
model.transformer.blocks.*.v_proj.weight D D
model.transformer.blocks.*.attn_out.weight D D
model.transformer.blocks.*.ff_proj.weight F D
model.transformer.blocks.*.up_proj.weight F D
model.transformer.blocks.*.ff_out.weight D F
"""
LLADA_MOE_NAMES = """
model.embed_tokens.weight V D
model.norm.weight D
lm_head.weight V D
model.layers.*.input_layernorm.weight D
model.layers.*.post_attention_layernorm.weight D
model.layers.*.self_attn.q_proj.weight D D
model.layers.*.self_attn.k_proj.weight D D
model.layers.*.self_attn.v_proj.weight D D
model.layers.*.self_attn.o_proj.weight D D
model.layers.*.self_attn.q_norm.weight H
model.layers.*.self_attn.k_norm.weight H
model.layers.*.mlp.gate.weight E D
model.layers.*.mlp.experts.#.gate_proj.weight M D
model.layers.*.mlp.experts.#.up_proj.weight M D
model.layers.*.mlp.experts.#.down_proj.weight D M
"""
LLADA2_NAMES = """
model.word_embeddings.weight V D
model.norm.weight D
lm_head.weight V D
model.layers.*.input_layernorm.weight D
model.layers.*.post_attention_layernorm.weight D
model.layers.*.attention.query_key_value.weight Q D
model.layers.*.attention.dense.weight D O
model.layers.*.attention.query_layernorm.weight H
model.layers.*.attention.key_layernorm.weight H
model.layers.0.mlp.gate_proj.weight F D
model.layers.0.mlp.up_proj.weight F D
model.layers.0.mlp.down_proj.weight D F
model.layers.+.mlp.gate.weight E D
model.layers.+.mlp.gate.expert_bias E
model.layers.+.mlp.shared_experts.gate_proj.weight M D
model.layers.+.mlp.shared_experts.up_proj.weight M D
model.layers.+.mlp.shared_experts.down_proj.weight D M
model.layers.+.mlp.experts.#.gate_proj.weight M D
model.layers.+.mlp.experts.#.up_proj.weight M D
model.layers.+.mlp.experts.#.down_proj.weight D M
"""


def by_hand(table: str, raw: dict[str, Any]) -> Shapes:
    """`*` is every layer, `+` every layer but the first, `#` every expert."""
    heads, kv = raw.get("num_attention_heads", 0), raw.get("num_key_value_heads", 0)
    size = {
        "V": raw["vocab_size"],
        "D": raw.get("hidden_size") or raw["d_model"],
        "F": raw.get("intermediate_size") or raw.get("mlp_hidden_size"),
        "M": raw.get("moe_intermediate_size") or raw.get("expert_intermediate_size"),
        "E": raw.get("num_experts"),
        "H": 128,
        "Q": (heads + 2 * kv) * 128,
        "O": heads * 128,
    }
    layers = range(raw.get("num_hidden_layers") or raw["n_layers"])
    out: Shapes = {}
    for line in table.split("\n")[1:-1]:
        name, *dims = line.split(" ")
        for layer in layers[1:] if "+" in name else layers if "*" in name else [0]:
            for expert in range(raw["num_experts"]) if "#" in name else [0]:
                full = re.sub(r"[*+]", str(layer), name).replace("#", str(expert))
                out[full] = tuple(size[one] for one in dims)
    return out


def by_transformers(kind: str, raw: dict[str, Any]) -> Shapes:
    transformers = pytest.importorskip("transformers")
    kept = {k: v for k, v in raw.items() if k not in ("model_type", "architectures", "auto_map", "attn_implementation")}
    with torch.device("meta"):
        model = getattr(transformers, f"{kind}ForCausalLM")(getattr(transformers, f"{kind}Config")(**kept))
    out: Shapes = {}
    for name, weight in model.state_dict().items():
        fused = re.fullmatch(r"(.*\.experts)\.(gate_up_proj|down_proj)", name)
        if fused is None:
            out[name] = tuple(weight.shape)
            continue
        for e in range(weight.shape[0]):  # on disk the experts lie one by one
            for part in ("gate_proj", "up_proj") if fused[2] == "gate_up_proj" else ("down_proj",):
                rows = weight.shape[1] // (2 if fused[2] == "gate_up_proj" else 1)
                out[f"{fused[1]}.{e}.{part}.weight"] = (rows, weight.shape[2])
    if raw.get("tie_word_embeddings"):
        del out["lm_head.weight"]
    return out


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_weight_is_mapped_and_none_left_over(name: str) -> None:
    raw, kind, billions, mask, eos, block = PUBLISHED[name]
    family = family_of(raw)
    assert family.config is not None
    net = build(family.config(raw))
    assert all(weight.is_meta for weight in net.parameters())
    found: Shapes = {}
    for ours, weight in net.state_dict().items():
        names = names_of(net, family, ours)
        shape = tuple(weight.shape)
        for one in names:
            assert one not in found, "two of our weights would read the same tensor"
            found[one] = shape[1:] if _is_stack(weight, names) else shape
    hand = {"llada": LLADA_NAMES, "llada_moe": LLADA_MOE_NAMES, "llada2": LLADA2_NAMES}
    assert found == (by_hand(hand[family.name], raw) if kind is None else by_transformers(kind, raw))
    assert sum(weight.numel() for weight in net.parameters()) / 1e9 == pytest.approx(billions, rel=0.02)

    traits = traits_of(family, raw, {}, name)
    assert (traits.mask, traits.eos, traits.block) == (mask, eos, block)
    assert traits.shift == (family.name in ("dream", "fast_dllm_v2", "llama", "qwen2", "qwen3"))
    assert traits.attention == {0: "full", 1: "causal"}.get(block, "block")
    assert traits.edits == ("2.1" in name)


def test_all_families_are_covered() -> None:
    from redraft.models.family import known_families

    covered = {family_of(raw).name for raw, *_ in PUBLISHED.values()}
    own = {name for name, family in known_families().items() if family.load is None} - {"redraft"}
    assert covered == own
