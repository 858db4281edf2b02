"""Whether every number and word of a recipe can be meant, however it came there: by a flag, by --set or by hand."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin

from ..core.errors import BadInput
from ..recipes.recipe import Recipe

SEEDS = 2**63
MANY = 10**9  # more steps, documents or tokens than any run has
# what a dotted path has to be, by its end: (lowest, highest, whether the highest itself is meant, in words)
RANGES: dict[str, tuple[float, float, bool, str]] = {
    "steps": (1, MANY, True, "a whole number above 0"),
    "batch": (1, MANY, True, "a whole number above 0"),
    "micro": (1, MANY, True, "a whole number above 0"),
    "seed": (0, SEEDS, False, "a whole number from 0 to 2^63 - 1"),
    "ema": (0, 1, False, "the decay of an average, from 0 (none) to below 1"),
    "block": (0, MANY, True, "a whole number of tokens"),
    "optimiser.lr": (5e-324, 100, False, "a rate above 0, such as 3e-4"),
    "optimiser.muon_lr": (5e-324, 1e9, False, "a rate above 0, such as 0.02"),
    "optimiser.weight_decay": (0, 100, True, "a number from 0"),
    "optimiser.clip": (0, math.inf, False, "the largest norm of a gradient, a number from 0 (no limit)"),
    "optimiser.warmup": (0, MANY, True, "a whole number of steps from 0"),
    "optimiser.decay": (0, 1, True, "a share of the run, from 0 to 1"),
    "optimiser.betas.0": (0, 1, False, "from 0 to below 1"),
    "optimiser.betas.1": (0, 1, False, "from 0 to below 1"),
    "rows.context": (2, MANY, True, "a whole number of tokens above 1"),
    "rows.num_pads": (0, 1000, True, "a whole number from 0 to 1000"),
    "rows.align": (0, MANY, True, "a whole number of tokens from 0"),
}


def check(recipe: Recipe) -> None:
    """BadInput for the first field that cannot be meant: of another type, out of its range, or not going with others."""
    for where, given, hint in walk(recipe):
        if not fits(given, hint):
            raise BadInput(f"{where} should be {described(hint)}, found {given!r}.")
    for path, (low, high, closed, words) in RANGES.items():
        value: Any = recipe
        for name in path.split("."):
            value = value[int(name)] if name.isdecimal() else getattr(value, name)
        if not (low <= value < high or (closed and value == high)):
            raise BadInput(f"{flag(path)} should be {words}, found {value!r}.")
    for stage in recipe.tasks.stages if recipe.tasks else ():
        if stage.batch < 1 or stage.start < 0:
            raise BadInput(
                f"a stage should have a batch above 0 and a start from 0, found {stage.batch}, {stage.start}."
            )
    if recipe.block > recipe.rows.context:
        raise BadInput(
            f"blocks of {recipe.block} tokens do not fit into rows of {recipe.rows.context}; take a smaller --block or a "
            "larger --set rows.context."
        )
    for path, value in inner(recipe.program, "program"):
        _part(path, value, recipe.rows.context)
    shapes(recipe.model, recipe.rows.context)


def _part(path: str, value: Any, context: int) -> None:
    """One part of the program."""
    names = {f.name for f in dataclasses.fields(value)}
    if path.endswith(".times") and {"low", "high"} <= names and not 0 <= value.low <= value.high <= 1:
        raise BadInput(
            f"{path}.low and {path}.high should be times with 0 <= low <= high <= 1, found {value.low} and {value.high}."
        )
    if path.endswith(".times") and "time" in names and not 0 <= value.time <= 1:
        raise BadInput(f"{path}.time should be from 0 to 1, found {value.time}.")
    if "block" in names and isinstance(value.block, int) and not 0 <= value.block <= context:
        raise BadInput(f"{path}.block should be from 0 to the {context} tokens of a row, found {value.block}.")


def shapes(model: Any, context: int) -> None:
    """Sizes of a model from scratch that go together; what else a family asks for, building it says."""
    names = {f.name for f in dataclasses.fields(model)} if dataclasses.is_dataclass(model) else set()
    if not names:
        return
    model = cast(Any, model)
    for name in (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_layers",
        "num_heads",
        "num_kv_heads",
        "head_dim",
    ):
        if getattr(model, name, 1) is not None and getattr(model, name, 1) < 1:
            raise BadInput(f"model.{name} should be a whole number above 0, found {getattr(model, name)}.")
    heads, groups = getattr(model, "num_heads", 1), getattr(model, "num_kv_heads", 1)
    if heads % groups:
        raise BadInput(
            f"model.num_heads should be a multiple of model.num_kv_heads, found {heads} and {groups}; --set both."
        )
    if "head_dim" not in names and getattr(model, "hidden_size", heads) % heads:
        raise BadInput(f"model.num_heads should divide model.hidden_size, found {heads} and {model.hidden_size}.")
    if getattr(model, "head_dim", 2) % 2:
        raise BadInput(f"a head should have an even number of channels for its positions, found {model.head_dim}.")


def flag(path: str) -> str:
    """How a command line calls a field."""
    plain = {"optimiser.lr": "--lr", **{one: f"--{one}" for one in ("steps", "batch", "micro", "seed", "ema", "block")}}
    return plain.get(path, path)


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted path, value, type hint) of every field of a frozen value and of those inside it."""
    if isinstance(value, tuple):
        for i, one in enumerate(value):
            yield from walk(one, f"{path}.{i}".removeprefix("."))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = hints_of(type(value))
        for field in dataclasses.fields(value):
            name = f"{path}.{field.name}".removeprefix(".")
            found = getattr(value, field.name)
            yield name, found, hints.get(field.name, Any)
            yield from walk(found, name)


def inner(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every frozen value in `value`, itself among them."""
    if isinstance(value, tuple):
        for i, one in enumerate(value):
            yield from inner(one, f"{path}.{i}")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield path, value
        for field in dataclasses.fields(value):
            yield from inner(getattr(value, field.name), f"{path}.{field.name}")


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """The type hints of a dataclass; none where a name in them is known to type checkers only."""
    try:
        return typing.get_type_hints(kind)
    except NameError:
        return {}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value has a type hint's type, as far as words and numbers go; a number is finite."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in args)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in args)
    if origin is tuple and isinstance(value, tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            return all(fits(one, args[0]) for one in value)
        return len(args) == len(value) and all(map(fits, value, args))
    if origin is not None:
        return not isinstance(origin, type) or isinstance(value, origin)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint not in (str, bool, type(None)) or isinstance(value, hint)


def described(hint: Any) -> str:
    """A type hint in words."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(map(described, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a tuple such as {hint}"
    words = {float: "a finite number", int: "a whole number", str: "a text", bool: "True or False", type(None): "None"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))
