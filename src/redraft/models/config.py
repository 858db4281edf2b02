"""Reading a checkpoint's config.json: what is needed, what is refused, and what the published files leave out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..core.errors import CheckpointError
from ..core.traits import Attention, Traits

Raw = Mapping[str, Any]

_ABSENT = object()


def size(raw: Raw, key: str, default: Any = _ABSENT) -> int:
    """A whole number above zero."""
    value = raw.get(key)
    if value is None and default is not _ABSENT:
        value = default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value <= 0:
        found = "nothing" if value is None else repr(value)
        raise CheckpointError(
            f"config.json must give {key!r} as a whole number above 0, found {found}; correct the file."
        )
    return int(value)


def number(raw: Raw, key: str, default: float) -> float:
    value = raw.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise CheckpointError(f"config.json must give {key!r} as a number, found {value!r}; correct the file.")
    return float(value)


def flag(raw: Raw, key: str, default: bool = False) -> bool:
    value = raw.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise CheckpointError(f"config.json must give {key!r} as true or false, found {value!r}; correct the file.")
    return value


def only(raw: Raw, key: str, *allowed: Any) -> None:
    """Refuse a value that would change the mathematics and is not supported; an absent key or null passes."""
    value = raw.get(key)
    if value is None or any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed):
        return
    kinds = " or ".join(repr(one) for one in allowed) or "null"
    raise CheckpointError(
        f"config.json has {key!r} = {value!r}, and redraft computes this family only with {kinds}; "
        "use a checkpoint without it or add it to the family's file."
    )


def heads(raw: Raw) -> tuple[int, int, int]:
    """(query heads, key/value heads, head size) under the usual Hugging Face names."""
    n = size(raw, "num_attention_heads")
    kv = size(raw, "num_key_value_heads", n)
    if raw.get("head_dim") is None and size(raw, "hidden_size") % n:
        raise CheckpointError(
            f"config.json must have hidden_size a multiple of num_attention_heads where head_dim is not given, "
            f"found {raw['hidden_size']} and {n}; correct the file."
        )
    if n % kv:
        raise CheckpointError(
            f"config.json must have num_attention_heads a multiple of num_key_value_heads, found {n} and {kv}; "
            "correct the file."
        )
    return n, kv, size(raw, "head_dim", size(raw, "hidden_size") // n)


def no_window(raw: Raw) -> None:
    """Refuse sliding-window attention where it is in use (a window that is switched off passes)."""
    only(raw, "use_sliding_window", False)
    kinds = set(raw.get("layer_types") or ()) - {"full_attention"}
    if kinds:
        raise CheckpointError(
            f"config.json has 'layer_types' with {', '.join(sorted(map(str, kinds)))}, and redraft computes this "
            "family only with full_attention; use a checkpoint without it."
        )


def rotary(raw: Raw, theta: float = 10000.0) -> tuple[float, dict[str, Any] | None]:
    """(base, scaling or None): reads rope_theta and rope_scaling, and the rope_parameters of transformers 5.

    Only kinds that do not depend on the length are computed; `dynamic` equals no scaling within the context.
    """
    given = raw.get("rope_parameters") or raw.get("rope_scaling")
    if given is None:
        return number(raw, "rope_theta", theta), None
    if not isinstance(given, Mapping) or any(isinstance(value, Mapping) for value in given.values()):
        raise CheckpointError(
            f"config.json must give rope_scaling as one table of numbers, found {given!r}; "
            "rotary settings per layer type are not supported."
        )
    base = number(given, "rope_theta", number(raw, "rope_theta", theta))
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind in ("default", "dynamic"):
        return base, None
    if kind not in ("linear", "llama3", "yarn"):
        raise CheckpointError(
            f"config.json has a rope_scaling of type {kind!r}, and redraft computes default, dynamic, linear, llama3 "
            "and yarn; use a checkpoint without it."
        )
    scaling = {key: value for key, value in given.items() if value is not None and key not in ("type", "rope_theta")}
    scaling["rope_type"] = kind
    longest = number(raw, "max_position_embeddings", 0.0)
    original = number(
        raw, "original_max_position_embeddings", number(given, "original_max_position_embeddings", longest)
    )
    needed = ("low_freq_factor", "high_freq_factor") if kind == "llama3" else ()
    if kind == "yarn" and "factor" not in scaling and original:
        scaling["factor"] = longest / original
    if kind != "linear":
        scaling["original_max_position_embeddings"] = original
        needed = (*needed, "original_max_position_embeddings")
    for key in ("factor", *needed):
        if not number(scaling, key, 0.0) > 0:
            raise CheckpointError(
                f"config.json must give rope_scaling of type {kind!r} a {key!r} above 0, found {scaling.get(key)!r}; "
                "correct the file."
            )
    if kind == "yarn":
        only(scaling, "truncate", True)
        scaling.setdefault("attention_factor", _yarn_factor(scaling))
    return base, scaling


def _yarn_factor(scaling: Raw) -> float:
    """YaRN's temperature on attention, with the DeepSeek variant of two multipliers (arXiv:2309.00071)."""
    factor, one, all_dim = float(scaling["factor"]), scaling.get("mscale"), scaling.get("mscale_all_dim")

    def scale(by: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * by * math.log(factor) + 1.0

    return scale(float(one)) / scale(float(all_dim)) if one and all_dim else scale(1.0)


def ids(*found: Any) -> tuple[int, ...]:
    """Token ids from values that are each an id, a list of ids or nothing; in order, without repeats."""
    out: dict[int, None] = {}
    for value in found:
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, int) and not isinstance(one, bool) and one >= 0:
                out[one] = None
    return tuple(out)


def read_traits(
    raw: Raw,
    generation: Raw,
    *,
    attention: Attention,
    shift: bool,
    block: int = 0,
    mask: int | None = None,
    mask_keys: Iterable[str] = ("mask_token_id",),
    eos: tuple[int, ...] = (),
    also: tuple[int, ...] = (),
    edits: bool = False,
    context: str = "max_position_embeddings",
) -> Traits:
    """Traits from config.json and generation_config.json.

    `mask` and `eos` are the published ids, used where both files are silent; `also` are published ids that end an
    answer next to the named ones. An id outside the vocabulary cannot be meant for this checkpoint and is dropped.
    """
    vocab = size(raw, "vocab_size")
    known = ids(*(raw.get(key) for key in mask_keys), *(generation.get(key) for key in mask_keys), mask)
    fits = [one for one in known if one < vocab]
    ends = ids(generation.get("eos_token_id"), raw.get("eos_token_id")) or eos
    return Traits(
        mask=fits[0] if fits else None,
        eos=tuple(one for one in ids(ends, also) if one < vocab),
        vocab=vocab,
        shift=shift,
        attention=attention,
        block=block,
        edits=edits,
        context=size(raw, context, 1) if raw.get(context) else 0,
    )
