"""The text form of methods and parts: `fast_dllm(threshold=0.9, cache=dual())`. Parsed, never evaluated."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from .. import parts
from ..core.errors import BadInput, UnknownName
from ..core.method import Method
from ..core.part import INNER, SLOTS, Part

LONGEST = 2000  # characters of a text form
LARGEST = 2**31  # largest number in one, either way


@functools.cache
def names() -> tuple[str, ...]:
    """Names of all methods: the files of redraft/methods and whatever third parties register under `redraft.methods`."""
    package = importlib.import_module(__package__)
    own = {m.name for m in pkgutil.iter_modules(package.__path__)} - {"text", "presets"}
    return tuple(sorted(own | {e.name for e in entry_points(group="redraft.methods")}))


@functools.cache
def builder(name: str) -> Callable[..., Method]:
    """The function that builds a method: it has the method's name, in a file of that name."""
    if name not in names():
        raise UnknownName("method", name, names())
    for entry in entry_points(group="redraft.methods"):
        if entry.name == name:
            return typing.cast(Callable[..., Method], entry.load())
    return typing.cast(Callable[..., Method], getattr(importlib.import_module(f"{__package__}.{name}"), name))


def presets(name: str) -> Mapping[str, Mapping[str, Any]]:
    """A method's published settings by name, from PRESETS in its file."""
    return typing.cast(Mapping[str, Mapping[str, Any]], getattr(module(name), "PRESETS", {}))


def module(name: str) -> ModuleType:
    """The file a method stands in: its docstring is the idea, PAPER and PROVENANCE where it comes from."""
    return importlib.import_module(builder(name).__module__)


def parse(text: str) -> Method:
    """`name`, `name(arg=value, slot=part(...))` or `name@preset(...)` -> Method. Errors: BadInput, UnknownName."""
    name, preset, call = read(text)
    build = builder(name)
    known = presets(name)
    if preset and preset not in known:
        raise UnknownName(f"preset of {name}", preset, known)
    args: dict[str, Any] = dict(known[preset]) if preset else {}
    hints = inspect.signature(build).parameters
    types = typing.get_type_hints(build)
    slots: dict[str, ast.expr] = {}
    for keyword in call:
        key = typing.cast(str, keyword.arg)
        if key in hints:
            args[key] = value(keyword.value, types[key], f"{name}({key}=...)", key)
        elif key in SLOTS or key in INNER:
            slots[key] = keyword.value
        else:
            raise UnknownName(f"argument of {name}", key, [*hints, *SLOTS, *INNER])
    return make(
        name,
        args,
        {slot: typing.cast(Part, value(node, Part, f"{name}({slot}=...)", slot)) for slot, node in slots.items()},
    )


def make(name: str, args: Mapping[str, Any] | None = None, slots: Mapping[str, Part] | None = None) -> Method:
    """A method from values; its `text` is canonical: the arguments that were given, in the signature's order."""
    build = builder(name)
    args, slots = dict(args or {}), dict(slots or {})
    signature = inspect.signature(build).parameters
    for key in args:
        if key not in signature:
            raise UnknownName(f"argument of {name}", key, [*signature, *SLOTS, *INNER])
    method = build(**args)
    for slot, part in slots.items():
        method = put(method, slot, part)
    shown = [f"{k}={show(args[k])}" for k in signature if k in args]
    shown += [f"{slot}={show(slots[slot])}" for slot in (*SLOTS, *INNER) if slot in slots]
    return replace(method, text=f"{name}({', '.join(shown)})" if shown else name)


def put(method: Method, slot: str, part: Part) -> Method:
    """The method with one slot replaced; score, select and revise sit inside commit=rule(...)."""
    if slot in SLOTS:
        return method.with_slot(slot, part)
    if not any(f.name == slot for f in dataclasses.fields(method.commit)):
        raise BadInput(
            f"expected a commit with a {slot} to replace, found {show(method.commit)}; replace commit instead."
        )
    return method.with_slot("commit", replace(method.commit, **{slot: part}))


def override(method: Method, slot: str, part: Part) -> Method:
    """Like `put`, and the text form says so."""
    name, preset, call = read(str(method))
    kept = [f"{k.arg}={ast.unparse(k.value)}" for k in call if k.arg != slot]
    inside = ", ".join([*kept, f"{slot}={show(part)}"])
    return replace(put(method, slot, part), text=f"{name}{'@' + preset if preset else ''}({inside})")


def read(text: str) -> tuple[str, str, list[ast.keyword]]:
    if len(text) > LONGEST:
        raise BadInput(f"expected a method's text form of at most {LONGEST} characters, found {len(text)}; shorten it.")
    head, bracket, rest = text.strip().partition("(")
    name, _, preset = (part.strip() for part in head.partition("@"))
    try:
        tree = ast.parse(f"_({rest}" if bracket else "_()", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if (
        not isinstance(tree, ast.Call)
        or not isinstance(tree.func, ast.Name)
        or tree.args
        or any(k.arg is None for k in tree.keywords)
    ):
        raise BadInput(
            f"expected a method such as fast_dllm(threshold=0.9, block=32), found {text!r}; write name(argument=value, ...)."
        )
    keys = [k.arg for k in tree.keywords]
    if len(set(keys)) != len(keys):
        raise BadInput(f"expected each argument once, found {text!r}; remove the second one.")
    return name, preset, tree.keywords


SLOT_OF = {"Canvas": "canvas", "Schedule": "schedule", "Look": "sight", "Cache": "cache", "Drawing": "draw", "Guide": "guide",
           "Commit": "commit", "Stop": "stop", "Score": "score", "Select": "select", "Revise": "revise"}  # fmt: skip


def value(node: ast.expr, hint: Any, where: str, slot: str) -> Any:
    """A literal or a part, checked against the annotation."""
    nothing = isinstance(node, ast.Name) and node.id.lower() == "none" and type(None) in typing.get_args(hint)
    if isinstance(node, ast.Call) or (isinstance(node, ast.Name) and _is_part(hint) and not nothing):
        return part(node, slot)
    if isinstance(node, ast.Name) and node.id.lower() in ("none", "true", "false"):
        found: Any = {"none": None, "true": True, "false": False}[node.id.lower()]
    elif isinstance(node, ast.Name):
        found = node.id  # a bare word is a string
    else:
        try:
            found = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise BadInput(
                f"expected a number, a word or a part for {where}, found {ast.unparse(node)!r}; write a plain value."
            ) from None
    return checked(found, hint, where)


def _is_part(hint: Any) -> bool:
    return any(isinstance(h, type) and issubclass(h, Part) for h in (typing.get_args(hint) or (hint,)))


def checked(found: Any, hint: Any, where: str) -> Any:
    numbers = found if isinstance(found, tuple | list) else (found,)
    if any(isinstance(n, int | float) and not -LARGEST <= n <= LARGEST for n in numbers):
        raise BadInput(f"expected a number of at most {LARGEST} for {where}, found {found!r}; change the value.")
    options = typing.get_args(hint) if typing.get_origin(hint) is not typing.Literal else ()
    if typing.get_origin(hint) is typing.Literal:
        allowed = typing.get_args(hint)
        if found not in allowed:
            raise UnknownName(f"value for {where}", str(found), map(str, allowed))
        return found
    if typing.get_origin(hint) is tuple:
        if isinstance(found, int | float | str):
            found = (found,)
        if isinstance(found, list | tuple) and all(type(x) is options[0] for x in found):
            return tuple(found)
    elif options:  # a union
        for option in options:
            try:
                return checked(found, option, where)
            except BadInput:
                continue
    elif hint is float and type(found) in (int, float):
        return float(found)
    elif hint is type(None) and found is None:
        return None
    elif isinstance(hint, type) and type(found) is hint:
        return found
    raise BadInput(f"expected {_named(hint)} for {where}, found {found!r}; change the value.")


def _named(hint: Any) -> str:
    options = [h for h in typing.get_args(hint) if h is not type(None)]
    if options and typing.get_origin(hint) is not tuple:
        return " or ".join(_named(h) for h in options)
    return {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}.get(
        hint, "a list of numbers" if options else str(getattr(hint, "__name__", hint))
    )


def part(node: ast.expr, slot: str) -> Part:
    """`name(field=value, ...)` of a slot."""
    if isinstance(node, ast.Name):
        name, keywords = node.id, []
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        name, keywords = node.func.id, node.keywords
    else:
        raise BadInput(
            f"expected a part such as none() for {slot}, found {ast.unparse(node)!r}; write name(field=value, ...)."
        )
    if slot not in parts.ALL_SLOTS:
        raise BadInput(f"expected a plain value for {slot}, found the part {name}(); only slots take parts.")
    cls = parts.find(slot, name)
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    args: dict[str, Any] = {}
    for keyword in keywords:
        key = keyword.arg
        if key is None or key not in fields:
            raise UnknownName(f"field of {name}", str(key), fields)
        found = value(
            keyword.value,
            hints[key] if not isinstance(keyword.value, ast.Call) else Part,
            f"{name}({key}=...)",
            _home(hints[key], key),
        )
        options = typing.get_args(hints[key]) or (hints[key],)
        if isinstance(found, Part) and not isinstance(found, options):
            raise BadInput(
                f"expected {_named(hints[key])} for {name}({key}=...), found the part {parts.name_of(found)}(); use another part."
            )
        args[key] = found
    return cls(**args)


def _home(hint: Any, key: str) -> str:
    """The slot whose parts a field takes; the field's own name where it takes none."""
    for option in typing.get_args(hint) or (hint,):
        if getattr(option, "__name__", "") in SLOT_OF:
            return SLOT_OF[option.__name__]
        if isinstance(option, type) and issubclass(option, Part):
            return parts.slot_of_class(option)
    return key


def show(x: Any) -> str:
    """A value as text that `value` reads back."""
    if isinstance(x, Part):
        inside = []
        for f in dataclasses.fields(x):
            default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
            if getattr(x, f.name) != default:
                inside.append(f"{f.name}={show(getattr(x, f.name))}")
        return f"{parts.name_of(x)}({', '.join(inside)})"
    if isinstance(x, tuple):
        return "(" + ", ".join(map(show, x)) + ("," if len(x) == 1 else "") + ")"
    if isinstance(x, str):
        return x if x.isidentifier() and x.lower() not in ("none", "true", "false") else repr(x)
    if x is None or isinstance(x, bool):
        return str(x).lower()
    return repr(x)
