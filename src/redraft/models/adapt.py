"""Adaptation: a causal checkpoint gets what a diffusion model needs, and says how: a mask token and other traits.

The mask token is, in this order: the one the caller names; the checkpoint's own; one the tokenizer already calls its
mask; a reserved token nothing uses (`<|fim_pad|>`, `<|reserved_special_token_0|>`, `<unused0>`, ...); a free row of a
padded vocabulary; a new row. Tokenizer, config.json and generation_config.json come to name it, so that `save` writes
a folder that says the same to every reader.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..core.errors import BadInput
from ..core.traits import Attention, Traits
from .backbone import Backbone
from .dit import DiT
from .injected import Injected, quiet, shapes
from .model import Model, generation
from .vocabulary import Vocabulary, as_bytes

Init = Literal["mean", "eos", "normal", "keep"]
INITS = ("mean", "eos", "normal", "keep")
KEY = "redraft_adaptation"
WAYS = {
    "checkpoint": "the checkpoint's own",
    "given": "named by the caller",
    "known": "the tokenizer's mask token",
    "reserved": "a reserved token nothing used",
    "padded": "a free row of the padded vocabulary",
    "new": "a new row",
    "none": "no mask token",
}


@dataclass(frozen=True)
class Adaptation:
    """How a model got its mask token; kept in config.json.

    mask, text   its id and text (None and "" where the noise needs none)
    chosen       a key of WAYS
    init         how its row in embedding and head was set: "mean" of the rows the tokenizer uses, a copy of the first
                 "eos" row, "normal" around that mean with those rows' spread, "keep": left as it was
    rows_before, rows_after   rows of the embedding
    eos          ids that end an answer, unchanged
    pads         ids of padding tokens that were asked for (Rainbow Padding); rows set like the mask's, or to the mean
    """

    mask: int | None
    text: str
    chosen: str
    init: Init
    rows_before: int
    rows_after: int
    eos: tuple[int, ...]
    pads: tuple[int, ...] = ()

    def __str__(self) -> str:
        rows = f"{self.rows_before} rows" + (f" -> {self.rows_after}" if self.rows_after != self.rows_before else "")
        ends = f"end tokens {', '.join(map(str, self.eos))}" if self.eos else "no end token"
        pads = f"; pads {', '.join(map(str, self.pads))}" if self.pads else ""
        if self.mask is None:
            return f"no mask token; {rows}; {ends}{pads}"
        name = f"{self.text} = " if self.text else ""
        if self.chosen in ("new", "padded") and self.text:
            why = f"{WAYS[self.chosen]}; row: {self.init}"
            return f"mask: new token {self.text!r} = {self.mask} ({why}); {rows}; {ends}{pads}"
        return f"mask token {name}{self.mask} ({WAYS[self.chosen]}; row: {self.init}); {rows}; {ends}{pads}"


def adaptation(model: Model) -> Adaptation | None:
    """How the model was adapted, also after `save` and `load`; None where it never was."""
    found = model.config.get(KEY)
    if not isinstance(found, dict) or found.keys() != {one.name for one in dataclasses.fields(Adaptation)}:
        return None
    return Adaptation(**found | {"eos": tuple(found["eos"]), "pads": tuple(found["pads"])})


def adapt(
    model: Model,
    *,
    mask: str | int | None = None,
    mask_init: Init | None = None,
    num_pads: int = 0,
    attention: Attention | None = None,
    block: int | None = None,
    shift: bool | None = None,
    noise: Literal["mask", "uniform"] | None = None,
    context: int | None = None,
    ragged: bool | None = None,
) -> Model:
    """The model with a mask token and the traits it is to be trained for; what is None stays.

    mask       text or id of the mask token; None chooses (see the module), and takes none for uniform noise
    mask_init  how its row is set; None: "keep" for the checkpoint's own mask, else "mean"
    num_pads   so many padding tokens of their own, for Rainbow Padding
    block      tokens of a block; needed for attention "block"; of the open block behind a causal text (1: no such block);
               0 for full

    Weights are not copied: rows of embedding and head are set or added in place, so `model` is spent.
    `adaptation(result)` says what was done. BadInput for what does not fit.
    """
    traits = _traits(model.traits, attention, block, shift, noise, context, ragged)
    if mask_init is not None and mask_init not in INITS:
        raise BadInput(f"mask_init should be one of {', '.join(INITS)}, found {mask_init!r}.")
    if mask_init == "eos" and not traits.eos:
        raise BadInput("mask_init 'eos' copies the row of the end token, and this model names none; choose 'mean'.")
    if isinstance(num_pads, bool) or not isinstance(num_pads, int) or num_pads < 0:
        raise BadInput(f"num_pads should be a whole number of at least 0, found {num_pads!r}.")
    before = _embedding(model.backbone).shape[0]
    vocab = Vocabulary(model.tokenizer, before, traits.eos)
    chosen, found = "none", None
    if traits.noise == "uniform" and mask is None:
        traits = dataclasses.replace(traits, mask=None)
    else:
        chosen, found = vocab.mask(mask, model.traits.mask)
    pads = tuple(vocab.claim(f"<|pad_{i}|>")[1] for i in range(num_pads))
    init: Init = mask_init or ("keep" if chosen in ("checkpoint", "none") else "mean")
    if init == "keep" and found is not None and found >= before:
        raise BadInput(f"mask_init 'keep' needs a row that is there, and token {found} gets a new one; choose 'mean'.")
    after = max([before, *(one + 1 for one in (found, *pads) if one is not None)])
    known = vocab.known()
    if after > before:
        _grow(model.backbone, after)
    for one in {*pads, *range(before, after)}:
        _set_row(model.backbone, one, "mean" if init == "keep" else init, known, traits.eos)
    if found is not None and found < before:
        _set_row(model.backbone, found, init, known, traits.eos)
    if found is not None or pads:
        highest = max(one for one in (found, *pads, traits.vocab - 1) if one is not None)
        traits = dataclasses.replace(traits, mask=found, vocab=after if after > before else highest + 1)
    record = Adaptation(found, vocab.name(found), chosen, init, before, after, traits.eos, pads)
    return dataclasses.replace(
        model,
        traits=traits,
        config=_config(model.config, record),
        tokenizer=vocab.text(found),
        files=model.files | {"generation_config.json": _generation(model, record)},
    )


def _traits(
    old: Traits,
    attention: Attention | None,
    block: int | None,
    shift: bool | None,
    noise: Literal["mask", "uniform"] | None,
    context: int | None,
    ragged: bool | None,
) -> Traits:
    kind = attention or old.attention
    if kind not in ("full", "causal", "block"):
        raise BadInput(f"attention should be 'full', 'causal' or 'block' in an adapted model, found {kind!r}.")
    if noise not in (None, "mask", "uniform"):
        raise BadInput(f"noise should be 'mask' or 'uniform', found {noise!r}.")
    if kind == "block":
        size = block if block is not None else old.block if old.attention == "block" else None
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise BadInput(f"attention 'block' needs block, a whole number of tokens above 0, found {size!r}.")
    elif kind == "causal":
        size = 1 if block is None else block
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise BadInput(f"attention 'causal' needs block, a whole number of tokens above 0, found {size!r}.")
    else:
        size = 0
        if block not in (None, 0):
            raise BadInput(f"attention 'full' has block 0, found {block!r}; leave it out or take 'block'.")
    if context is not None and (isinstance(context, bool) or not isinstance(context, int) or context < 1):
        raise BadInput(f"context should be a whole number of tokens above 0, found {context!r}.")
    changes = {"shift": shift, "noise": noise, "context": context, "ragged": ragged}
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(old, attention=kind, block=size, **given)


def _embedding(backbone: nn.Module) -> Tensor:
    if isinstance(backbone, Injected):
        weight: Tensor = backbone.model.get_input_embeddings().weight
        return weight
    if isinstance(backbone, Backbone | DiT):
        return backbone.embedding.weight
    raise BadInput(
        f"adapt works on the shared layers, the DiT and injected models, found {type(backbone).__name__}; "
        "this model is a diffusion model already."
    )


def _grow(backbone: nn.Module, rows: int) -> None:
    """Room for so many tokens; the new rows are still to be set."""
    if isinstance(backbone, Injected):
        with quiet():
            backbone.model.resize_token_embeddings(rows, mean_resizing=False)
        backbone.config = shapes(backbone.model)
        return
    assert isinstance(backbone, Backbone | DiT)
    backbone.embedding.weight = _longer(backbone.embedding.weight, rows)
    backbone.embedding.num_embeddings = rows
    if not backbone.config.tie_embeddings:
        backbone.lm_head.weight = _longer(backbone.lm_head.weight, rows)
        backbone.lm_head.out_features = rows
        if backbone.lm_head.bias is not None:
            backbone.lm_head.bias = _longer(backbone.lm_head.bias, rows)
    backbone.config = dataclasses.replace(backbone.config, vocab_size=rows)


def _longer(weight: Tensor, rows: int) -> nn.Parameter:
    more = weight.new_zeros(rows - weight.shape[0], *weight.shape[1:])
    return nn.Parameter(torch.cat((weight.detach(), more)), requires_grad=weight.requires_grad)


@torch.no_grad()
def _set_row(backbone: nn.Module, row: int, init: Init, known: Sequence[int], eos: Sequence[int]) -> None:
    """One token's row in the embedding and, where it is not tied, in the head and its bias."""
    if init == "keep":
        return
    head: Tensor = backbone.head_weight  # type: ignore[assignment]
    bias: Tensor | None = backbone.head_bias  # type: ignore[assignment]
    embedding = _embedding(backbone)
    tables = [embedding] + ([head] if head is not embedding else []) + ([bias] if bias is not None else [])
    for i, table in enumerate(tables):
        if init == "eos":
            table[row] = table[eos[0]]
            continue
        used = table[torch.tensor([one for one in known if one != row], device=table.device)].float()
        value = used.mean(0)
        if init == "normal":
            generator = torch.Generator().manual_seed(row * len(tables) + i)
            value = value + used.std(0) * torch.randn(value.shape, generator=generator).to(value.device)
        table[row] = value.to(table.dtype)


def _config(raw: dict[str, Any], record: Adaptation) -> dict[str, Any]:
    config = dict(raw)
    if record.rows_after > record.rows_before:
        config |= {key: record.rows_after for key in ("vocab_size", "embedding_size") if config.get(key) is not None}
        if isinstance(config.get("backbone"), dict):
            config["backbone"] = config["backbone"] | {"vocab_size": record.rows_after}
    config["mask_token_id"] = record.mask
    config[KEY] = dataclasses.asdict(record) | {"eos": list(record.eos), "pads": list(record.pads)}
    return config


def _generation(model: Model, record: Adaptation) -> bytes:
    found = dict(generation(model.files))
    if record.eos:
        found.setdefault("eos_token_id", list(record.eos))
    return as_bytes(found | {"mask_token_id": record.mask})
