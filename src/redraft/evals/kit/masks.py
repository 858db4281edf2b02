"""Training attention masks of many projects: who sees whom in our layouts, in the reference's order of columns."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from ...objectives import Canvas, Full, Layout, TwoStream, View
from ...objectives.encoder_decoder import EncoderDecoder
from ...objectives.forcing import Forcing
from ...objectives.groups import Groups
from ...objectives.view import CLEAN
from ..conform import Mismatch
from ..conform_train import TrainCase
from ._recorded import plain, rows, view


def train(case: TrainCase) -> dict[str, Tensor]:
    case.entry("layout", "")
    kinds = [name for name in KNOWN if case.variant.startswith(name)]
    if not kinds:
        raise Mismatch(f"variant {case.variant!r} is not known here (known: {', '.join(sorted(KNOWN))})")
    return KNOWN[max(kinds, key=len)](case)


def blank(length: int) -> Canvas:
    return rows(torch.zeros(1, length, dtype=torch.int64))


def each(case: TrainCase, pattern: str, mask: Callable[[re.Match[str]], Tensor]) -> dict[str, Tensor]:
    """The mask of every recorded name that fits."""
    found = {name: re.fullmatch(pattern, name) for name in case.rest()}
    return {name: mask(match) for name, match in found.items() if match is not None}


def seen(layout: Layout, length: int) -> View:
    return view(layout, blank(length))


def two_stream(length: int, block: int) -> Tensor:
    """(2L, 2L) bool, [noised, clean]."""
    return seen(TwoStream(block), length).mask()[0]


def packed(lengths: list[int], block: int) -> Tensor:
    """(1, 2T, 2T) bool of documents one behind the other in a row, each as [noised, clean]."""
    sample = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    place = torch.cat([torch.arange(n) for n in lengths])
    every = torch.ones(1, len(place), dtype=torch.bool)
    canvas = Canvas(place[None] * 0, every, every, ~every, sample[None], place[None])
    found = view(TwoStream(block), canvas)
    order = found.document[0].argsort(stable=True)  # within a document: noised, then clean
    return found.mask()[:, order][:, :, order]


def noised_first(case: TrainCase) -> dict[str, Tensor]:
    """[noised, clean], as our views are laid."""
    return each(case, r"L(\d+)_B(\d+)", lambda m: two_stream(int(m[1]), int(m[2])))


def clean_first(case: TrainCase) -> dict[str, Tensor]:
    def mask(m: re.Match[str]) -> Tensor:
        found = seen(TwoStream(int(m[2])), int(m[1]))
        order = found.stream[0].argsort(descending=True, stable=True)
        return found.mask()[0][order][:, order]

    return each(case, r"L(\d+)_B(\d+)", mask)


def encoder_decoder(case: TrainCase) -> dict[str, Tensor]:
    """enc: clean columns among themselves. dec: what noised columns see of [clean, noised]."""

    def mask(m: re.Match[str]) -> Tensor:
        found = seen(EncoderDecoder(int(m[3])), int(m[2]))
        whole, clean = found.mask()[0], found.stream[0] == CLEAN
        order = found.stream[0].argsort(descending=True, stable=True)
        return whole[clean][:, clean] if m[1] == "enc" else whole[~clean][:, order]

    return each(case, r"(enc|dec)_L(\d+)_B(\d+)", mask)


def with_one_stream(case: TrainCase) -> dict[str, Tensor]:
    single = each(case, r"eval_L(\d+)_B(\d+)", lambda m: seen(Full(int(m[2])), int(m[1])).mask()[0])
    return noised_first(case) | single


def with_packing(case: TrainCase) -> dict[str, Tensor]:
    """Documents one behind the other, each as [noised, clean]."""

    def mask(m: re.Match[str]) -> Tensor:
        return packed([int(n) for n in m[1].split("_")], int(m[2]))

    return noised_first(case) | each(case, r"packed_(\d+(?:_\d+)*)_B(\d+)", mask)


def forcing(case: TrainCase) -> dict[str, Tensor]:
    """L<length>_B<block>, one row for each recorded length of a prompt."""

    def mask(m: re.Match[str]) -> Tensor:
        prompt = case.take(f"{m[0]}_prompt_len")
        tokens = torch.zeros(len(prompt), int(m[1]), dtype=torch.int64)
        return view(Forcing(int(m[2])), rows(tokens, torch.arange(int(m[1])) >= prompt[:, None])).mask()

    return each(case, r"L(\d+)_B(\d+)", mask)


def groups(case: TrainCase) -> dict[str, Tensor]:
    """L<length>_D<size>_causal<c>: groups at recorded positions. gen_window_D<size>_cache<c>: one group at the end, at the
    last clean place (with stored keys, which that place's copy replaces) or behind it."""

    def at(length: int, size: int, causal: bool, starts: Tensor) -> View:
        canvas = blank(length)
        noised = plain(canvas.tokens)
        return Groups(size, causal=causal).at(canvas, noised, noised.hit, starts)

    def training(m: re.Match[str]) -> Tensor:
        stem, size = f"L{m[1]}_D{m[2]}", int(m[2])
        length = int(case.take(f"{stem}_x0_len")[0])
        pos = case.take(f"{stem}_position_ids")
        found = at(length, size, m[3] == "1", pos[length::size][None])
        if length != int(m[1]) or not torch.equal(found.pos[0], pos):
            raise Mismatch(f"{stem}_position_ids are not those of groups of {size} behind {m[1]} clean places")
        return found.mask()[0]

    def window(m: re.Match[str]) -> Tensor:
        size = int(m[1])
        length = case.tensors[m[0]].shape[0] - size
        if m[2] == "1":
            return at(length, size, False, torch.tensor([[length - 1]])).mask()[0]
        found = at(
            length + 1, size, False, torch.tensor([[length]])
        )  # the group's first place is in no stream of clean ones
        kept = torch.arange(found.tokens.shape[1]) != length
        return found.mask()[0][kept][:, kept]

    return each(case, r"L(\d+)_D(\d+)_causal([01])", training) | each(case, r"gen_window_D(\d+)_cache([01])", window)


KNOWN: dict[str, Callable[[TrainCase], dict[str, Tensor]]] = {
    "bd3lm_xt_x0": noised_first,
    "dllm_bd3lm": noised_first,
    "e2d2_bd3lm_x0_xt": clean_first,
    "e2d2_encoder_decoder": encoder_decoder,
    "fastdllm_v2_training": with_one_stream,
    "sdar_training": with_packing,
    "d2f_training": forcing,
    "sdlm_groups": groups,
}
