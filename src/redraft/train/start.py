"""What a run starts from: the recipe's small model, or a checkpoint made into what the recipe trains."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from torch import nn

from ..core.errors import BadInput
from ..core.traits import Traits
from ..models.adapt import adapt, adaptation
from ..models.backbone import Backbone, BackboneConfig
from ..models.dit import DiT, DiTConfig
from ..models.families import mdlm, redraft
from ..models.load import load
from ..models.model import Model
from ..models.text import Text
from ..models.vocabulary import CALLED_MASK, RESERVED
from ..objectives import Objective
from ..objectives.validity import check as check_sense
from ..recipes.recipe import Recipe
from .data import Special
from .loop import parts
from .tokenizer import EOS, MASK, PAD, special_id

BOX = Path(__file__).parent.parent / "assets" / "redraft-tiny" / "tokenizer.json"


def initialise(model: nn.Module, seed: int) -> None:
    """Normal weights, 0.02 for the embedding and 1 / sqrt(fan in) for matrices; residual outputs start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue
        if name.endswith(("attn.o.weight", "mlp.down.weight")):
            nn.init.zeros_(weight)
        else:
            std = 0.02 if "embedding" in name else weight.shape[-1] ** -0.5
            nn.init.normal_(weight, std=std, generator=generator)


def scratch(recipe: Recipe, tokenizer: Tokenizer) -> Model:
    """The recipe's model with fresh weights for this tokenizer, which must have the tokens of redraft.train.tokenizer."""
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.add_special_tokens([AddedToken(pad, special=True) for pad in pads_of(recipe)])
    vocab = tokenizer.get_vocab_size()
    masked = "mask" in recipe.needs or (recipe.noise == "mask" and recipe.attention != "causal")
    traits = Traits(
        mask=special_id(tokenizer, MASK) if masked else None,
        eos=(special_id(tokenizer, EOS),),
        vocab=vocab,
        shift=recipe.shift,
        attention=recipe.attention,
        block=max(recipe.block, 1) if recipe.attention == "causal" else recipe.block,
        noise=recipe.noise,
        edits=recipe.edits,
        ragged=recipe.attention == "block" or recipe.block > 1,
        context=recipe.rows.context,
    )
    text = Text(tokenizer, special={"pad_token": PAD, "eos_token": EOS, "mask_token": MASK})
    shapes = dataclasses.replace(recipe.model, vocab_size=vocab)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        try:
            if isinstance(shapes, BackboneConfig):
                backbone: nn.Module = Backbone(shapes)
                initialise(backbone, recipe.seed)
                return Model(backbone, traits, "redraft", redraft.describe(shapes, traits), text, recipe.name)
            if isinstance(shapes, DiTConfig):
                return Model(DiT(shapes), traits, "mdlm", mdlm.describe(shapes, traits), text, recipe.name)
            if hasattr(shapes, "build"):  # the shapes of a family with classes of its own
                backbone = shapes.build()
                return Model(backbone, traits, shapes.family, shapes.describe(backbone, traits), text, recipe.name)
        except (RuntimeError, ValueError, TypeError, ArithmeticError, AssertionError, MemoryError) as error:
            if isinstance(error, BadInput):
                raise
            why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise BadInput(
                f"a model of these sizes cannot be built ({why}); look at the --set model.* given."
            ) from error
    raise BadInput(f"recipe {recipe.name} should have a BackboneConfig or a DiTConfig as its model, found {shapes!r}.")


def pads_of(recipe: Recipe) -> list[str]:
    return [f"<|pad_{i}|>" for i in range(recipe.rows.num_pads)]


def adapted(recipe: Recipe, init: str, mask: str | None, say: Callable[[str], None]) -> Model:
    """A checkpoint with the mask token and traits that the recipe trains; `say` hears how it got them."""
    named: str | int | None = int(mask) if mask is not None and mask.isdecimal() else mask
    model = load(init)
    if named is not None:
        spare(model, named)
    model = adapt(
        model,
        mask=named,
        num_pads=recipe.rows.num_pads,
        attention=None if recipe.attention == "encoder_decoder" else recipe.attention,
        block=max(recipe.block, 1) if recipe.attention in ("block", "causal") else None,
        shift=recipe.shift,
        noise="mask" if "mask" in recipe.needs else recipe.noise,
        ragged=recipe.attention == "block" or recipe.block > 1,
    )
    traits = dataclasses.replace(model.traits, noise=recipe.noise, edits=recipe.edits)
    if traits != model.traits:
        model = dataclasses.replace(model, traits=traits)
    say(f"{init}: {adaptation(model)}")
    return model


def spare(model: Model, named: str | int) -> None:
    """BadInput for a mask token that texts use: its row would be lost."""
    if model.tokenizer is None:
        return
    backend = model.tokenizer.backend
    text = backend.id_to_token(named) if isinstance(named, int) else named
    one = backend.token_to_id(text) if text is not None else None
    ordinary = one is not None and text in backend.get_vocab(False) and one not in backend.get_added_tokens_decoder()
    if ordinary and one != model.traits.mask and text not in CALLED_MASK and not RESERVED.fullmatch(text or ""):
        raise BadInput(
            f"--mask {named} is {text!r}, an ordinary token whose row would be lost; name a reserved token or a new text "
            "such as '<|mask|>', or leave --mask out."
        )


def special_of(model: Model, recipe: Recipe) -> Special:
    """The ids that data needs."""
    eos = model.traits.eos
    if not eos:
        raise BadInput(f"{model.name} names no end token, and answers need one; give a checkpoint that names its own.")
    backend = model.tokenizer.backend if model.tokenizer is not None else None
    named = model.tokenizer.special.get("pad_token") if model.tokenizer is not None else None
    pad = backend.token_to_id(named) if backend is not None and named else None
    done = adaptation(model)
    pads = done.pads if done else tuple(special_id(backend, name) for name in pads_of(recipe)) if backend else ()
    return Special(eos[0], eos[0] if pad is None else pad, model.traits.mask, pads, eos)


def check(recipe: Recipe, model: Model) -> None:
    """BadInput where the recipe makes no sense or does not fit the model, before the first step."""
    check_sense(recipe.program)
    takes_noise = "sigma" in inspect.signature(type(model.backbone).forward).parameters
    for part in parts(recipe.program):
        if isinstance(part, Objective) and part.conditioned and not takes_noise:
            raise BadInput(
                f"recipe {recipe.name} tells the network its noise level, and {model.name} ({model.family}) takes none; train "
                "from scratch, start from a DiT, or --set program.conditioned=False."
            )
    if "mask" in recipe.needs and model.traits.mask is None:
        raise BadInput(f"recipe {recipe.name} needs a mask token, and {model.name} has none; name one by --mask.")
    context = model.traits.context
    if context and recipe.rows.context > context:
        raise BadInput(
            f"recipe {recipe.name} makes rows of {recipe.rows.context} tokens, and {model.name} was made for {context}; "
            f"give --set rows.context={context}."
        )


def with_block(value: Any, old: int, new: int) -> Any:
    """A frozen value in which every field named `block` (or `align`, or a curriculum's `last`) that is `old` is `new`."""
    if isinstance(value, tuple):
        return type(value)(with_block(one, old, new) for one in value) if type(value) is tuple else value
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        if not field.init:
            continue
        found = getattr(value, field.name)
        if field.name in ("block", "align", "last") and found == old and isinstance(found, int):
            changes[field.name] = new
        else:
            inner = with_block(found, old, new)
            if inner is not found and inner != found:
                changes[field.name] = inner
    return dataclasses.replace(value, **changes) if changes else value
