"""Laying prompts on a canvas."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...core.errors import BadInput
from ...core.traits import Traits
from ...core.types import Prompt, State


def check_pins(p: Prompt) -> None:
    """BadInput where a pin leaves the places asked for or overlaps another."""
    taken = 0
    for offset, ids in p.pins:
        if offset < 0 or offset + len(ids) > p.num_new:
            raise BadInput(
                f"expected pinned tokens inside the {p.num_new} new places, found places {offset} to "
                f"{offset + len(ids) - 1}; use a smaller offset or raise max_new_tokens."
            )
        if offset < taken:
            raise BadInput(
                f"expected pinned texts that do not overlap, found one at place {offset}, inside the one before; use a larger offset."
            )
        taken = offset + len(ids)


def lay(prompts: Sequence[Prompt], traits: Traits, device: torch.device, grid: int = 1) -> State:
    """A State with each prompt, its gap, its suffix; gaps without a suffix are rounded up to end on a multiple of `grid`."""
    num_rows = len(prompts)
    ends = []
    for p in prompts:
        check_pins(p)
        end = len(p.ids) + p.num_new
        real = end - p.pads
        ends.append(end if p.suffix else end + (-real) % grid)
    width = max((end + len(p.suffix) for end, p in zip(ends, prompts, strict=True)), default=0)
    tokens = torch.full((num_rows, width), traits.mask if traits.mask is not None else 0, dtype=torch.int64)
    fixed = torch.zeros(num_rows, width, dtype=torch.bool)
    valid = torch.zeros(num_rows, width, dtype=torch.bool)
    for i, (p, end) in enumerate(zip(prompts, ends, strict=True)):
        given = torch.tensor(p.ids, dtype=torch.int64)
        tokens[i, : len(p.ids)] = given
        fixed[i, : len(p.ids)] = True
        for column in p.blanks:
            fixed[i, column] = False
        if p.suffix:
            tokens[i, end : end + len(p.suffix)] = torch.tensor(p.suffix, dtype=torch.int64)
            fixed[i, end : end + len(p.suffix)] = True
        for offset, ids in p.pins:
            at = len(p.ids) + offset
            tokens[i, at : at + len(ids)] = torch.tensor(ids, dtype=torch.int64)
            fixed[i, at : at + len(ids)] = True
        valid[i, p.pads : end + len(p.suffix)] = True
    valid, fixed, tokens = valid.to(device), fixed.to(device), tokens.to(device)
    zeros = torch.zeros(num_rows, dtype=torch.int64, device=device)

    def row(values: list[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    return State(
        tokens=tokens,
        fixed=fixed & valid,
        valid=valid,
        known=fixed & valid,
        stored=torch.zeros(num_rows, width, dtype=torch.int32, device=device),
        conf=torch.zeros(num_rows, width, device=device),
        logp=torch.zeros(num_rows, width, device=device),
        when=torch.zeros(num_rows, width, dtype=torch.int32, device=device),
        start=row([len(p.ids) for p in prompts]),
        end=row(ends),
        goal=row([len(p.ids) + p.num_new for p in prompts]),
        slot=torch.arange(num_rows, device=device),
        seed=row([p.seed for p in prompts]),
        nfe=zeros,
        step=zeros,
        budget=row([p.budget or 20 * (end - len(p.ids)) + 64 for p, end in zip(prompts, ends, strict=True)]),
        done=zeros.bool(),
        finish=zeros.to(torch.int8),
        traits=traits,
    )
