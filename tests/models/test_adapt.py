"""Adaptation: a model comes to have a mask token, says how, and the saved folder says the same to every reader."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers import models as bpe
from torch import Tensor

import redraft
from redraft.core.errors import BadInput
from redraft.core.traits import Traits
from redraft.models import Model, load, wrap
from redraft.models.adapt import Adaptation, adapt, adaptation
from redraft.models.dit import DiT, DiTConfig
from redraft.models.families.mdlm import describe
from tests.models.run import logits

transformers = pytest.importorskip("transformers")
STORIES = Path(__file__).parents[3] / "shared" / "data" / "stories260k" / "hf"
needs_stories = pytest.mark.skipif(not STORIES.is_dir(), reason="../shared/data/stories260k/hf is not here")
BYTES = 256
FORMS = ["llama", "llama, tied", "qwen2", "gemma", "gpt2", "gpt2, untied"]


def tokenizer(*more: str) -> Tokenizer:
    """256 bytes, <|end|> as 256, then `more` as special tokens."""
    vocab = {one: i for i, one in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    out = Tokenizer(bpe.BPE(vocab=vocab, merges=[]))
    out.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    out.decoder = decoders.ByteLevel()
    out.add_special_tokens(["<|end|>", *more])
    return out


def hf(form: str, rows: int) -> Any:
    kind, _, tied = form.partition(", ")
    shape: dict[str, Any] = {"vocab_size": rows, "bos_token_id": 256, "eos_token_id": 256, "initializer_range": 0.2}
    torch.manual_seed(1)
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
        config = transformers.GPT2Config(**shape, **sizes, tie_word_embeddings=tied != "untied")
        return transformers.GPT2LMHeadModel(config).eval()
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    name = {"llama": "Llama", "qwen2": "Qwen2", "gemma": "Gemma"}[kind]
    if kind == "gemma":
        sizes |= {"head_dim": 8}
    else:
        shape |= {"tie_word_embeddings": tied == "tied"}
    config = getattr(transformers, f"{name}Config")(**shape, **sizes, max_position_embeddings=64, pad_token_id=0)
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


def folder(tmp_path: Path, form: str = "llama", rows: int = 257, more: tuple[str, ...] = ()) -> Path:
    where = tmp_path / "causal"
    hf(form, rows).save_pretrained(where)
    tokenizer(*more).save(str(where / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}
    (where / "tokenizer_config.json").write_text(json.dumps(config))
    return where


def record(model: Model) -> Adaptation:
    found = adaptation(model)
    assert found is not None
    return found


def weights(model: Model) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.backbone.state_dict().items()}


CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[Any, ...]]] = {
    # rows and tokens of the model; what adapt is given; id, text, way, initialisation, rows after
    "a new row": ({}, {}, (257, "<|mask|>", "new", "mean", 258)),
    "a padded vocabulary": ({"rows": 320}, {}, (257, "<|mask|>", "padded", "mean", 320)),
    "a reserved token": ({"rows": 259, "more": ("<|fim_pad|>",)}, {}, (257, "<|fim_pad|>", "reserved", "mean", 259)),
    "the first of several": (
        {"rows": 260, "more": ("<|hi|>", "<unused0>", "<unused1>")}, {}, (258, "<unused0>", "reserved", "mean", 260),
    ),
    "reserved before padded": (
        {"rows": 320, "more": ("<|reserved_special_token_0|>",)}, {},
        (257, "<|reserved_special_token_0|>", "reserved", "mean", 320),
    ),
    "one called mask": ({"rows": 259, "more": ("<unused0>", "<mask>")}, {}, (258, "<mask>", "known", "mean", 259)),
    "a text": ({}, {"mask": "[hidden]", "mask_init": "eos"}, (257, "[hidden]", "new", "eos", 258)),
    "a text it knows": ({"rows": 258, "more": ("[hidden]",)}, {"mask": "[hidden]"}, (257, "[hidden]", "given", "mean", 258)),
    "an id": ({"rows": 258, "more": ("[hidden]",)}, {"mask": 257, "mask_init": "keep"}, (257, "[hidden]", "given", "keep", 258)),
    "the next free id": ({"rows": 320}, {"mask": 257}, (257, "<|mask|>", "given", "mean", 320)),
    "drawn": ({}, {"mask_init": "normal"}, (257, "<|mask|>", "new", "normal", 258)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("form", ["llama", "gpt2"])
def test_the_mask_token_is_chosen_and_declared(name: str, form: str, tmp_path: Path) -> None:
    made, given, (mask, text, way, init, rows) = CHOICES[name]
    model = load(folder(tmp_path, form, **made))
    before = weights(model)
    new = adapt(model, attention="full", **given)
    r = record(new)
    assert (r.mask, r.text, r.chosen, r.init, r.rows_after) == (mask, text, way, init, rows)
    assert (r.rows_before, r.eos) == (made.get("rows", 257), (256,))
    assert str(mask) in str(r) and text in str(r) and init in str(r)
    assert new.traits == Traits(mask=mask, eos=(256,), vocab=rows, shift=True, context=64)
    assert new.backbone.config.vocab_size == rows == new.backbone.head_weight.shape[0]
    assert new.tokenizer is not None and new.tokenizer.backend.token_to_id(text) == mask
    for key, weight in weights(new).items():  # nothing but the mask's row changed
        same = (
            [i for i in range(len(before[key])) if i != mask or init == "keep"] if rows in weight.shape else slice(None)
        )
        assert torch.equal(weight[: len(before[key])][same], before[key][same]), key

    new.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.traits == new.traits and adaptation(again) == r
    mine, back = weights(new), weights(again)
    assert mine.keys() == back.keys() and all(torch.equal(mine[key], back[key]) for key in mine)
    for file in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "saved" / file).read_text())["mask_token_id"] == mask
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert theirs.mask_token == text and theirs.mask_token_id == mask and theirs.eos_token_id == 256
    for one in (new, again):
        ids = one.encode(f"a {text} b {text}")
        assert mask not in ids and one.decode(ids) == f"a {text} b {text}"
        assert one.decode([mask, 97, mask]) == one.decode([97])


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_set_in_embedding_and_head(form: str, tmp_path: Path) -> None:
    ids = torch.arange(40)[None]
    for init in ("mean", "eos", "normal"):
        model = load(folder(tmp_path, form, rows=300))
        net: Any = copy.deepcopy(model.backbone)
        new: Any = adapt(model, mask_init=init, attention="block", block=4).backbone
        plain = net.embed(torch.arange(257)).float()
        found = new.embed(torch.tensor([257]))[0]
        rows = [(found, plain, plain[256])]
        if "tied" not in form or form == "gpt2, untied":
            rows.append((new.head_weight[257], net.head_weight[:257], net.head_weight[256]))
        for row, known, end in rows:
            want = {"mean": known.mean(0), "eos": end}.get(init)
            if want is not None:
                assert torch.allclose(row, want, atol=1e-6)
            else:
                z = (row - known.mean(0)) / known.std(0)
                assert 0.5 < z.std() < 1.5 and z.abs().max() < 5
        # what the model says of ordinary tokens is what it said before
        assert torch.equal(logits(new, ids)[..., :257], logits(net, ids)[..., :257])


def test_a_head_bias_and_the_dit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = DiT(DiTConfig(40, 32, 2, 4))
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    old = copy.deepcopy(net)
    traits = Traits(mask=None, eos=(1,), vocab=40, noise="uniform", context=64)
    model = adapt(Model(net, traits, "mdlm", describe(net.config, traits)), noise="mask")
    assert model.traits.mask == 40 and model.traits.vocab == 41 and record(model).chosen == "new"
    assert torch.allclose(net.lm_head.bias[40], old.lm_head.bias.mean())
    assert torch.equal(net.lm_head.bias[:40], old.lm_head.bias)
    model.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.traits == model.traits and torch.equal(again.backbone.lm_head.bias, net.lm_head.bias)


def test_the_checkpoints_own_mask_is_kept(tmp_path: Path) -> None:
    model = redraft.load("redraft-tiny")
    before = weights(model)
    new = adapt(model, block=8)
    assert record(new).chosen == "checkpoint" and record(new).init == "keep"
    assert new.traits.mask == model.traits.mask and new.traits.block == 8
    assert all(torch.equal(weight, before[key]) for key, weight in weights(new).items())
    new.save(tmp_path / "saved")
    assert load(tmp_path / "saved").traits == new.traits


def test_uniform_noise_needs_no_mask(tmp_path: Path) -> None:
    new = adapt(load(folder(tmp_path)), attention="full", noise="uniform", shift=False)
    assert new.traits == Traits(mask=None, eos=(256,), vocab=257, noise="uniform", context=64)
    assert record(new).mask is None and record(new).chosen == "none" and record(new).rows_after == 257
    new.save(tmp_path / "saved")
    assert load(tmp_path / "saved").traits == new.traits


def test_pads_of_their_own(tmp_path: Path) -> None:
    new = adapt(load(folder(tmp_path, rows=259, more=("<unused0>", "<unused1>"))), num_pads=3, attention="full")
    assert (record(new).mask, record(new).pads, record(new).rows_after) == (257, (258, 259, 260), 261)
    assert new.traits.vocab == 261 and new.decode([97, 258, 259, 260]) == new.decode([97])
    new.save(tmp_path / "saved")
    assert adaptation(load(tmp_path / "saved")) == record(new)


def test_without_a_tokenizer_ids_are_enough(tmp_path: Path) -> None:
    for form in FORMS:
        new = adapt(wrap(hf(form, 257)), num_pads=2, attention="full")
        r = record(new)
        assert (r.mask, r.text, r.chosen, r.pads, r.rows_after) == (257, "", "new", (258, 259), 260)
        assert new.traits.vocab == 260 and new.tokenizer is None
        new.save(tmp_path / form)
        again = load(tmp_path / form)
        assert again.traits == new.traits and torch.equal(again.backbone.head_weight, new.backbone.head_weight)
        out = redraft.generate(again, [[1, 2, 3]], method="fast_dllm", max_new_tokens=8)[0]
        assert len(out.tokens) <= 8 and 257 not in out.tokens


def test_block_one_with_causal_sight_is_the_causal_model(tmp_path: Path) -> None:
    where = folder(tmp_path)
    ids = torch.randint(0, 256, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        want = transformers.AutoModelForCausalLM.from_pretrained(where)(ids).logits
    new = adapt(load(where), attention="block", block=1)
    mask = torch.ones(24, 24, dtype=torch.bool).tril()[None]
    assert (logits(new.backbone, ids, mask)[..., :257] - want).abs().max() <= 1e-5 * want.abs().max()
    assert (new.traits.attention, new.traits.block, new.traits.shift) == ("block", 1, True)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("attention should be", {"attention": "sideways"}),
    ("'block' needs block", {"attention": "block"}),
    ("whole number of tokens above 0", {"attention": "block", "block": 0}),
    ("has block 0, found 4", {"attention": "full", "block": 4}),
    ("noise should be", {"noise": "pink"}),
    ("context should be", {"context": 0}),
    ("mask_init should be one of", {"mask_init": "zeros"}),
    ("num_pads", {"num_pads": -1}),
    ("from 0 to 299", {"mask": 300}),
    ("without another role, and 256 has", {"mask": 256}),
    ("without another role, and '<|end|>' has", {"mask": "<|end|>"}),
    ("its next one, 257, found 260", {"mask": 260}),
    ("text or id", {"mask": ""}),
    ("text or id", {"mask": True}),
]


@pytest.mark.parametrize(("sentence", "given"), WRONG)
def test_what_does_not_fit_is_refused_before_anything_changes(
    sentence: str, given: dict[str, Any], tmp_path: Path
) -> None:
    model = load(folder(tmp_path, rows=300))
    before = weights(model)
    with pytest.raises(BadInput, match=sentence):
        adapt(model, **given)
    assert all(torch.equal(weight, before[key]) for key, weight in weights(model).items())
    assert model.tokenizer is not None and model.tokenizer.backend.get_vocab_size() == 257


def test_rows_and_tokenizers_that_are_not_there() -> None:
    with pytest.raises(BadInput, match="names none"):
        adapt(wrap(hf("llama", 257), eos_id=-1), mask_init="eos")
    with pytest.raises(BadInput, match="'keep' needs a row that is there, and token 257"):
        adapt(wrap(hf("llama", 257)), mask_init="keep")
    with pytest.raises(BadInput, match="no tokenizer"):
        adapt(wrap(hf("llama", 257)), mask="<|mask|>")


def test_a_reserved_token_of_the_chat_template_is_left_alone(tmp_path: Path) -> None:
    where = folder(tmp_path, rows=259, more=("<|reserved_0|>", "<|reserved_1|>"))
    (where / "chat_template.jinja").write_text("<|reserved_0|>{{ messages[0].content }}")
    assert record(adapt(load(where))).text == "<|reserved_1|>"


def test_a_mask_that_is_an_ordinary_added_token_becomes_special(tmp_path: Path) -> None:
    where = folder(tmp_path, rows=258)
    backend = tokenizer()
    backend.add_tokens([AddedToken("<mask>", special=False)])
    backend.save(str(where / "tokenizer.json"))
    new = adapt(load(where), attention="full")
    assert (record(new).chosen, record(new).text, new.traits.mask) == ("known", "<mask>", 257)
    assert 257 not in new.encode("a <mask> b") and new.decode([97, 257]) == new.decode([97])


@needs_stories
def test_a_real_llama_becomes_a_diffusion_model(tmp_path: Path) -> None:
    causal = load(STORIES)
    ids = torch.tensor([causal.encode("Once upon a time, there was a little girl.")])
    length = ids.shape[1]
    tril = torch.ones(length, length, dtype=torch.bool).tril()[None]
    want = logits(causal.backbone, ids, tril)
    new = adapt(causal, attention="block", block=4)
    r = record(new)
    assert (r.mask, r.text, r.chosen, r.init, r.rows_before, r.rows_after, r.eos) == (
        512, "<|mask|>", "new", "mean", 512, 513, (2,),
    )  # fmt: skip
    assert torch.equal(logits(new.backbone, ids, tril)[..., :512], want)
    new.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.traits == Traits(mask=512, eos=(2,), vocab=513, shift=True, attention="block", block=4, context=512)
    assert torch.equal(again.backbone.head_weight, new.backbone.head_weight)
    text = "Tom saw <|mask|> and <|mask|>."
    assert 512 not in again.encode(text) and again.decode(again.encode(text)) == text
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "saved").mask_token_id == 512
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    with torch.inference_mode():
        assert (theirs(ids).logits[..., :512] - want).abs().max() <= 1e-4
    out = redraft.generate(again, "Once upon a time", method="fast_dllm_v2", max_new_tokens=16)
    assert out.tokens and 512 not in out.tokens
