"""The processes of one run, through Accelerate: who does what, sums over all of them, and weights split by FSDP2.

Replicated weights (DDP) get their gradients summed once a step, behind the last micro-batch: programs may use other
weights in every micro-batch, which DDP's hooks would have to be told about.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..core.errors import BadInput, RedraftError, Stopped
from ..objectives import Loss

T = TypeVar("T")
BUCKET = 1 << 24  # elements reduced at once


class Processes:
    """index of num on `device`; every method but `main` is a collective: all processes call it, in the same order."""

    def __init__(self, device: str | None = None) -> None:
        try:
            from accelerate import PartialState
        except ImportError:
            raise BadInput(
                "training runs on Accelerate, which is not installed; pip install 'redraft[train]'."
            ) from None
        if device == "cuda" and not torch.cuda.is_available():
            raise BadInput("--device cuda asks for a GPU, and torch finds none; leave it out to train on the CPU.")
        # one process a device; on the CPU gloo carries the sums
        cpu = device == "cpu" or not torch.cuda.is_available()
        if cpu:
            os.environ.setdefault("ACCELERATE_USE_CPU", "true")
        self.state: Any = PartialState(cpu=True) if cpu else PartialState()
        self.index, self.num = int(self.state.process_index), int(self.state.num_processes)
        self.device = torch.device("cpu") if cpu else self.state.device

    @property
    def main(self) -> bool:
        return self.index == 0

    def gather(self, value: Any) -> list[Any]:
        """Every process's plain value, in order."""
        if self.num == 1:
            return [value]
        found: list[Any] = [None] * self.num
        torch.distributed.all_gather_object(found, value)
        return found

    def total(self, mine: Mapping[str, float]) -> dict[str, float]:
        """Sums by name; a process need not know all the names."""
        out: dict[str, float] = {}
        for one in self.gather(dict(mine)):
            for name, value in one.items():
                out[name] = out.get(name, 0.0) + value
        return out

    def first(self, act: Callable[[], T]) -> T:
        """The main process acts; all get its plain result, or its error."""
        outcome: tuple[Any, str | None] = (None, None)
        failure: RedraftError | None = None
        if self.main:
            try:
                outcome = (act(), None)
            except RedraftError as error:
                failure, outcome = error, (None, str(error))
        value, wrong = self.gather(outcome)[0]
        if failure is not None:
            raise failure
        if wrong is not None:
            raise Stopped(wrong)
        found: T = value
        return found

    def sum_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """Gradients summed over processes, in buckets; what has none gets zeros, with any number of processes."""
        grads: list[Tensor] = []
        for p in weights:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            grads.append(p.grad)
        if self.num == 1:
            return
        while grads:
            bucket, size = [grads.pop()], 0
            while grads and size + grads[-1].numel() < BUCKET:
                bucket.append(grads.pop())
                size += bucket[-1].numel()
            flat = torch.cat([g.flatten() for g in bucket])
            torch.distributed.all_reduce(flat)
            for g, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                g.copy_(part.view_as(g))

    def close(self) -> None:
        """Wait for all, and leave the group that torchrun's processes made."""
        if self.num > 1:
            torch.distributed.barrier()
            if "TORCHELASTIC_RUN_ID" in os.environ:
                self.state.destroy_process_group()


class Whole(nn.Module):
    """All networks as one module whose forward is whatever a program does with them, so that FSDP2's hooks see it."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)

    def forward(self, run: Any) -> tuple[Tensor, Any]:
        """run(networks) -> Loss; its value comes first, since the hooks look for tensors."""
        loss = run(dict(self.networks.items()))
        return loss.value, loss


def layers_of(network: nn.Module) -> list[nn.Module]:
    """The repeated layers of a network: the members of its largest list of modules."""
    lists = [m for m in network.modules() if isinstance(m, nn.ModuleList)]
    sizes = [weight(m) for m in lists]
    return list(lists[sizes.index(max(sizes))]) if lists else []


def weight(module: nn.Module) -> int:
    """Numbers in a module's parameters."""
    return sum(p.numel() for p in module.parameters())


def split(whole: Whole, bf16: bool, processes: Processes) -> None:
    """Split weights, gradients and optimiser states over the processes: FSDP2, a group for each layer."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(processes.device.type, (processes.num,))
    wide = torch.bfloat16 if bf16 else None
    policy = MixedPrecisionPolicy(
        param_dtype=wide, reduce_dtype=torch.float32 if bf16 else None, cast_forward_inputs=False
    )
    for network in whole.networks.values():
        for layer in layers_of(network):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(whole, mesh=mesh, mp_policy=policy)
    for module in whole.modules():
        if isinstance(module, FSDPModule):
            # gradients are sums: a program's loss is already divided by the counts of all processes
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)
            module.set_reduce_scatter_unused_params(True)


def gathered(whole: Any, wanted: bool) -> None:
    """Begin a step. Weights stay in one piece until its end where `wanted` (programs whose forwards differ by process
    would wait for one another for ever), else they are gathered layer by layer; gradients wait for `reduce`."""
    from torch.distributed.fsdp import FSDPModule

    whole.set_requires_gradient_sync(False)
    for module in whole.modules():
        if isinstance(module, FSDPModule):
            if wanted:
                module.unshard()
            module.set_reshard_after_forward(not wanted, recurse=False)
            module.set_reshard_after_backward(not wanted, recurse=False)


def reduce(whole: Any) -> None:
    """End a step: sum and split the gradients of all networks, used or not, by a backward through nothing."""
    whole.set_requires_gradient_sync(True)
    whole.set_reshard_after_backward(True)
    value, _ = whole(lambda networks: Loss(torch.zeros((), requires_grad=True) * 1.0))
    value.backward()


def checkpoint_layers(network: nn.Module) -> None:
    """Compute each layer's activations anew in the backward pass: less memory, about a third more time."""
    from torch.utils.checkpoint import checkpoint

    for layer in layers_of(network):
        inner = layer.forward

        def again(*args: Any, _inner: Any = inner, **kwargs: Any) -> Any:
            return checkpoint(_inner, *args, use_reentrant=False, **kwargs)

        layer.forward = again
