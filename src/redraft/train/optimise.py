"""What moves the weights: AdamW and Muon from a recipe, the rate over a run, weight averages, bfloat16 copies."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from ..recipes.recipe import Optimiser
from .processes import Whole

_INNER = re.compile(r"(^|\.)(layers|h|blocks)\.\d+\.")


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that are learned, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def optimisers(weights: Mapping[str, nn.Parameter], o: Optimiser) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon (arXiv:2502.16982) for the layers' matrices where the recipe asks for it.

    Vectors (norms, biases) do not decay.
    """
    inner = [p for name, p in weights.items() if o.muon and p.ndim == 2 and _INNER.search(name)]
    taken = {id(p) for p in inner}
    rest = [p for p in weights.values() if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": o.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW([g for g in groups if g["params"]], lr=o.lr, betas=o.betas) for _ in rest[:1]
    ]
    if inner:
        found.append(torch.optim.Muon(inner, lr=o.muon_lr, weight_decay=o.weight_decay))
    for one in found:
        for group in one.param_groups:
            group["peak"] = group["lr"]
    return found


def rate(o: Optimiser, step: int, progress: float) -> float:
    """The share of the peak rate at 0-based `step`: warm-up, flat, then linearly to zero over the last o.decay."""
    down = min((1.0 - progress) / o.decay, 1.0) if o.decay else 1.0
    return min((step + 1) / max(o.warmup, 1), 1.0) * down


def advance(found: Iterable[torch.optim.Optimizer], share: float) -> None:
    """One step of each at `share` of its peak rate; gradients are dropped."""
    for one in found:
        for group in one.param_groups:
            group["lr"] = group["peak"] * share
        one.step()
        one.zero_grad(set_to_none=True)


def leaves(found: Iterable[torch.optim.Optimizer], names: Mapping[int, str]) -> Iterator[tuple[str, Tensor]]:
    """(`optimiser.weight:leaf`, value) of all states; names: id of a parameter -> its name."""
    for number, one in enumerate(found):
        for group in one.param_groups:
            for p in group["params"]:
                for leaf, value in one.state.get(p, {}).items():
                    yield f"{number}.{names[id(p)]}:{leaf}", torch.as_tensor(value)


def take(
    found: Iterable[torch.optim.Optimizer], weights: Mapping[str, nn.Parameter], saved: Mapping[str, Tensor]
) -> None:
    """Put back what `leaves` gave."""
    every = list(found)
    for key, value in saved.items():
        place, _, leaf = key.rpartition(":")
        number, _, name = place.partition(".")
        weight = weights[name]
        every[int(number)].state[weight][leaf] = value if value.ndim == 0 else like(value, weight)


def like(value: Tensor, weight: Tensor) -> Tensor:
    """`value`, whole and on the CPU, on the weight's device and split as the weight is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(weight, DTensor):
        return distribute_tensor(value.to(weight.device), weight.device_mesh, weight.placements)
    return value.to(weight.device)


def whole(value: Tensor) -> Tensor:
    """A tensor that may be split over processes, in one piece; every process must ask for it."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


class Ema:
    """An exponential moving average of the weights: e = d e + (1 - d) w, with d = min(decay, (1 + n) / (10 + n)) in the
    n-th update, so that the start is forgotten (as MDLM's and score_sde's code has it)."""

    def __init__(self, weights: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.weights = dict(weights)
        self.values = {name: p.detach().clone() for name, p in weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        d = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in self.values.items():
            value.lerp_(self.weights[name].detach(), 1.0 - d)


class Half:
    """Forward and backward on a bfloat16 copy; the float32 weights and gradients stay where they are.

    Networks that are no backbones (a learned schedule) compute in float32. On the CPU this is faster than autocast, which
    casts every weight anew in every micro-batch.
    """

    def __init__(self, model: Whole) -> None:
        self.worker = copy.deepcopy(model)
        for network in self.worker.networks.values():
            if hasattr(network, "head_weight"):
                network.bfloat16()
        self.pairs = list(zip(self.worker.parameters(), model.parameters(), strict=True))

    @torch.no_grad()
    def scatter(self) -> None:
        """Weights to the copy."""
        for copied, own in self.pairs:
            if own.requires_grad:
                copied.copy_(own)

    @torch.no_grad()
    def gather(self) -> None:
        """The copy's gradients, added to the weights'."""
        for copied, own in self.pairs:
            if copied.grad is not None:
                own.grad = copied.grad.float() if own.grad is None else own.grad.add_(copied.grad)
                copied.grad = None
