"""Runs recorded values of reference training code: losses, weights, masks, schedules, likelihoods.

A case holds what went into the reference (clean ids, logits, every random draw) and what came out. `evals/kit/<family>.py`
says in `train(case)` which of our parts stand for the reference's names: it takes the inputs and gives the outputs. Every
recorded tensor and every entry of meta.json is either taken or given, nothing else; what is given is compared:

    integers and booleans   equal
    floats                  |found - recorded| <= 1e-5 |recorded| + 1e-8 (what a checkpoint computed: + 1e-4); inf and nan
                            only where recorded
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .conform import Case, Mismatch, Params

KINDS = ("loss", "schedule", "mask", "likelihood", "kernel")
RTOL, ATOL, ATOL_MODEL = 1e-5, 1e-8, 1e-4
TEXT = {"family", "case", "variant", "kind", "reference", "versions", "note", "params", "tensors", "draw_order"}
DRAW = re.compile(r"draw\d\d_(np_binomial|rand|randint|randn|bernoulli|randperm)(_like)?")


@dataclass(frozen=True)
class Rounded:
    """A value the reference computed in float32 with cancellation: `error`, of the same shape, is how far its own rounding
    can carry it, by the formula it used. It widens the comparison by so much and never by what is recorded."""

    value: Tensor
    error: Tensor


class TrainCase:
    """A recorded case: `take` its inputs, `entry` its settings, `params.take` its parameters; the rest are outputs."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.tensors = case.tensors() if (case.folder / "tensors.safetensors").exists() else {}
        self.params = Params(case.meta.get("params") or {})
        self.taken: set[str] = set()
        self.entries: set[str] = set()

    @property
    def variant(self) -> str:
        return str(self.case.meta["variant"])

    def has(self, name: str) -> bool:
        return name in self.tensors

    def take(self, name: str) -> Tensor:
        """A recorded input. Mismatch where it is not there."""
        if name not in self.tensors:
            raise Mismatch(f"expected a tensor {name}, found none")
        self.taken.add(name)
        return self.tensors[name]

    def draws(self, *names: str) -> tuple[Tensor, ...]:
        """All recorded draws in the order they were made; `names` are what they must be, as in "rand"."""
        found = sorted(n for n in self.tensors if DRAW.fullmatch(n))
        if names and [n.partition("_")[2] for n in found] != list(names):
            raise Mismatch(f"expected the draws {', '.join(names)}, found {', '.join(found) or 'none'}")
        return tuple(self.take(n) for n in found)

    def entry(self, name: str, default: Any = None) -> Any:
        """A setting in meta.json beside the parameters; without a default it must be there."""
        if default is None and name not in self.case.meta:
            raise Mismatch(f"expected an entry {name} in meta.json, found none")
        self.entries.add(name)
        return self.case.meta.get(name, default)

    def setting(self, name: str, default: Any) -> Any:
        """A number that stands among the parameters, beside them, or nowhere."""
        return self.params.take(name) if name in self.params.left else self.entry(name, default)

    @property
    def mask(self) -> int:
        return int(self.entry("mask_id"))

    def rest(self) -> tuple[str, ...]:
        """Recorded tensors that nobody took: the outputs."""
        return tuple(sorted(set(self.tensors) - self.taken))

    def seed(self) -> int:
        """Of an entry rng that says `torch.manual_seed(N)` and what is drawn."""
        found = re.match(r"torch\.manual_seed\((\d+)\)", str(self.entry("rng")))
        if found is None:
            raise Mismatch(f"rng {self.case.meta['rng']!r} is not known here (known: torch.manual_seed(N))")
        return int(found[1])


def check_train(case: Case, train: Callable[[TrainCase], Mapping[str, Any]]) -> None:
    """Raises Mismatch where our parts disagree with the recording, or where anything of it is left out."""
    check_labels(case)
    recorded = TrainCase(case)
    check_shapes(case, recorded.tensors)
    with torch.no_grad():
        found = train(recorded)
    recorded.params.end()
    outputs = set(found)
    both = outputs & (recorded.taken | recorded.entries)
    if both:
        raise Mismatch(f"{', '.join(sorted(both))} is an input here and cannot be an output")
    unknown = sorted(set(recorded.tensors) - recorded.taken - outputs)
    if unknown:
        raise Mismatch(f"tensor {', '.join(unknown)} is not known here")
    unknown = sorted(set(case.meta) - TEXT - recorded.entries - outputs)
    if unknown:
        raise Mismatch(f"unknown entry {', '.join(unknown)} in meta.json")
    if not outputs:
        raise Mismatch("nothing is recorded that could be compared")
    compare_all(case, recorded, found)


def compare_all(case: Case, recorded: TrainCase, found: Mapping[str, Any]) -> None:
    """Everything that was computed against the recorded tensor or entry of that name."""
    atol = ATOL_MODEL if "ckpt" in case.meta else ATOL
    for name in sorted(found):
        given, near = found[name], torch.tensor(atol, dtype=torch.float64)
        value: Tensor = given.value if isinstance(given, Rounded) else given
        if isinstance(given, Rounded):
            near = near + given.error
        if name in recorded.tensors:
            compare(name, recorded.tensors[name], value, near)
        elif name in case.meta:
            compare(name, torch.tensor(case.meta[name], dtype=value.dtype), value, near)
        else:
            raise Mismatch(f"expected a recorded {name}, found none")


def check_labels(case: Case) -> None:
    name, variant = case.meta.get("case"), case.meta.get("variant")
    if not isinstance(name, str) or variant not in (name, re.sub(r"_s\d+$", "", name)):
        raise Mismatch(f"variant {variant!r} is not that of the case {name!r}")


def check_shapes(case: Case, tensors: Mapping[str, Tensor]) -> None:
    """The list of shapes in meta.json, where there is one, and the draws' order."""
    listed = case.meta.get("tensors")
    shapes = {n: [list(t.shape), str(t.dtype).removeprefix("torch.")] for n, t in tensors.items()}
    if listed is not None and listed != shapes:
        wrong = sorted(n for n in {*listed, *shapes} if listed.get(n) != shapes.get(n))
        raise Mismatch(f"the shape of {', '.join(wrong)} is not the one meta.json lists")
    order = case.meta.get("draw_order")
    if order is not None and list(order) != sorted(n for n in tensors if DRAW.fullmatch(n)):
        raise Mismatch("draw_order is not that of the recorded draws")


def compare(name: str, expected: Tensor, found: Tensor, atol: float | Tensor = ATOL) -> None:
    """Raises Mismatch by the rule at the top of this file."""
    if found.shape != expected.shape:
        raise Mismatch(f"{name}: expected shape {tuple(expected.shape)}, found {tuple(found.shape)}")
    if not expected.is_floating_point():
        if found.is_floating_point():
            raise Mismatch(f"{name}: expected {expected.dtype}, found {found.dtype}")
        wrong = (found.long() != expected.long()).nonzero()
        if len(wrong):
            at = tuple(wrong[0].tolist())
            raise Mismatch(f"{name}{list(at)}: expected {expected[at].item()}, found {found[at].item()}")
        return
    one, two = found.double(), expected.double()
    near = (
        (one == two) | (one.isnan() & two.isnan()) | (two.isfinite() & ((one - two).abs() <= atol + RTOL * two.abs()))
    )
    if not bool(near.all()):
        at = tuple((~near).nonzero()[0].tolist())
        raise Mismatch(
            f"{name}{list(at)}: expected {expected[at].item():.8g}, found {found[at].item():.8g}, further apart than 1e-5"
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's generator set as the recording had it, and back as it was behind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
