"""A method is a frozen row of parts; its text form is parsed, never evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

from .errors import BadInput, Unsupported
from .part import Part
from .slots import Cache, Canvas, Commit, Drawing, Guide, Look, Schedule, Stop
from .traits import Traits

NEEDS = {  # in the order in which a lack is said
    "uniform": "uniform noise instead of a mask token",
    "causal": "causal attention",
    "edits": "training on token edits (such as LLaDA2.1's)",
    "block": "block-causal attention",
    "mask": "a mask token",
}


@dataclass(frozen=True)
class Method:
    """Eight slots. `text` is how it was written, for printing and for parsing back."""

    canvas: Canvas
    schedule: Schedule
    sight: Look
    cache: Cache
    draw: Drawing
    guide: Guide
    commit: Commit
    stop: Stop
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text or repr(self)

    def parts(self) -> Iterator[Part]:
        """All parts, nested ones too."""
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Part):
                yield from walk(value)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(need for part in self.parts() for need in part.needs)

    @cached_property  # asked for in every step
    def reads(self) -> frozenset[str]:
        return frozenset(name for part in self.parts() for name in part.reads)

    def with_slot(self, slot: str, part: Part) -> Method:
        return replace(self, **{slot: part})  # type: ignore[arg-type]

    def check(self, traits: Traits) -> None:
        """Raises Unsupported, before the first forward, where the model lacks what a part needs; BadInput for ids it has not."""
        for part in self.parts():
            for name in ("suppress", "distrust"):
                wrong = [i for i in getattr(part, name, ()) if not 0 <= i < traits.vocab]
                if wrong:
                    raise BadInput(
                        f"expected ids from 0 to {traits.vocab - 1} in {name}, found {wrong[0]}; change the value."
                    )
        has = {
            "mask": traits.mask is not None,
            "block": traits.attention in ("block", "causal"),
            "causal": traits.attention == "causal",
            "edits": traits.edits,
            "uniform": traits.noise == "uniform",
        }
        for need in [n for n in NEEDS if n in self.needs]:
            if not has[need]:
                raise Unsupported(
                    f"{self.text.split('(')[0] or 'this method'} expects a model with {NEEDS[need]}, "
                    f"found {describe(traits)}; choose another method (`redraft methods`) or another model."
                )


def walk(part: Part) -> Iterator[Part]:
    yield part
    for f in fields(part):
        value = getattr(part, f.name)
        if isinstance(value, Part):
            yield from walk(value)


def describe(traits: Traits) -> str:
    kind = f"{traits.attention} attention" + (f" of {traits.block}" if traits.attention == "block" else "")
    mask = "no mask token" if traits.mask is None else f"mask id {traits.mask}"
    return f"{kind}, {mask}, {'edit-trained' if traits.edits else 'no edit training'}, {traits.noise} noise"
