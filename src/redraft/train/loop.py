"""The loop that trains every recipe.

A step takes the next documents by number, makes rows and micro-batches of them, and gives each process its share.
Noise comes first, since it needs no model: what losses are divided by is summed over all micro-batches and processes,
so the gradient is that of the whole batch however it is split. Noise and dropout are keyed by document, so a run is
the same with any number of processes and after a resume.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..core.draws import Keyed, key
from ..core.errors import BadInput, Stopped
from ..core.noise import mix
from ..models.model import Model
from ..objectives import Canvas, Mixture, Objective, Summed
from ..recipes import curriculum
from ..recipes.recipe import Recipe
from .checkpoint import Checkpoint
from .data import Row, Source, Special, canvas, micro_batches, rows
from .optimise import Ema, Half, advance, leaves, like, optimisers, rate, take, trainable, whole
from .processes import Processes, Whole, checkpoint_layers, gathered, reduce, split
from .telemetry import measure, noise_scale, summary

NOISE_EVERY = 10  # steps between estimates of the gradient's noise


class Run:
    """A training run under way: networks, optimisers, averages and where it stands.

    shard      weights, gradients and optimiser states are split over the processes (FSDP2)
    recompute  layers are computed again in the backward pass (gradient checkpointing)
    saved      the checkpoint to go on from
    say        hears of documents that were cut
    """

    def __init__(
        self,
        recipe: Recipe,
        model: Model,
        source: Source,
        special: Special,
        processes: Processes,
        shard: bool = False,
        recompute: bool = False,
        saved: Checkpoint | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.recipe, self.source, self.special, self.processes = recipe, source, special, processes
        self.traits, self.shard = model.traits, shard and processes.num > 1
        self.say = say
        if shard and recipe.optimiser.muon:
            raise BadInput(
                "Muon needs whole matrices and FSDP splits them; train with --no-fsdp or --set optimiser.muon=False."
            )
        state: Mapping[str, Any] = saved.state if saved else {}
        self.step, self.tokens = int(state.get("step", 0)), int(state.get("tokens", 0))
        self.seconds = float(state.get("seconds", 0.0))
        self.whole = Whole(networks(recipe, model)).to(processes.device).train()
        if "teacher" in self.whole.networks:
            self.whole.networks["teacher"].eval()
        if saved:
            restore(self.whole, saved.tensors("model"))
        self.half = Half(self.whole) if recipe.bf16 and not self.shard else None
        runs: Whole = self.half.worker if self.half else self.whole
        for network in runs.networks.values():
            if recompute:
                checkpoint_layers(network)
        if self.shard:
            split(self.whole, recipe.bf16, processes)
        self.runs = runs
        self.weights = trainable(self.whole)
        if not self.weights:
            raise BadInput("the model has no weights to train; its parameters are all frozen.")
        self.optimisers = optimisers(self.weights, recipe.optimiser)
        self.ema = Ema(self.weights, recipe.ema) if recipe.ema else None
        if saved:
            take(self.optimisers, self.weights, saved.tensors("optimiser"))
            if self.ema:
                self.ema.updates = int(state["updates"])
                self.ema.values = {k: like(v, self.weights[k]) for k, v in saved.tensors("ema").items()}

    def micro_batches(self, step: int) -> tuple[list[list[Row]], dict[int, str]]:
        """The step's micro-batches, the same on every process, and the task of each document's number."""
        first, count = self.recipe.documents(step)
        documents = self.source.read(first, count)
        batch = rows(documents, self.recipe.rows, self.special, self.say)
        if not batch:
            raise BadInput(
                f"documents {first} to {first + count - 1} hold nothing to learn; look at them with --preview."
            )
        return micro_batches(batch, self.recipe.micro), {d.number: d.task for d in documents}

    def canvas(self, micro: Sequence[Row]) -> Canvas:
        made = canvas(micro, self.special)
        return Canvas(*(getattr(made, f.name).to(self.processes.device) for f in dataclasses.fields(made)))

    def advance(self, progress: float) -> dict[str, Any]:
        """One step at `progress` in [0, 1] of the run: noise, forward, backward, update. Returns the log line."""
        start, r, procs = time.monotonic(), self.recipe, self.processes
        program = curriculum.at(r.program, r.curriculum, progress)
        micros, tasks = self.micro_batches(self.step)
        own = micros[procs.index :: procs.num]
        in_step = self.shard and one_forward(program)  # then every process runs as many forwards, empty ones at the end
        rounds = -(-len(micros) // procs.num) if in_step else len(own)
        jobs = [program.prepare(self.canvas(m), Keyed(r.seed), self.traits) for m in own or micros[:1]]
        counts = self.counts(jobs[: len(own)])
        if self.half:
            self.half.scatter()
        if self.shard:
            gathered(self.whole, not in_step)
        measured = not self.shard and self.step % NOISE_EVERY == 0 and len(micros) > 1
        squares, total, done = 0.0, 0.0, []
        for k in range(rounds):
            live = k < len(own)
            job = jobs[k] if live else jobs[0]
            self._seed((own[k] if live else micros[0])[0][0].number)
            with self._alone(measured) as found:
                value, loss = self.runs(lambda nets, job=job: program.run(nets, job, counts))
                (value if live else value * 0.0).backward()
            squares += found[0] if found else 0.0
            if live:
                done.append((job, dataclasses.replace(loss, value=value.detach())))
        if self.shard:
            reduce(self.whole)
        else:
            procs.sum_gradients(self.weights.values())
        tokens = float(sum(len(d) for micro in own for row in micro for d in row))
        sums: dict[str, float] = {"squares": squares, "tokens": tokens}
        for job, loss in done:
            total += float(loss.value)
            for name, number in measure(job, loss, tasks, self.traits.block).items():
                sums[name] = sums.get(name, 0.0) + number
        sums = procs.total(sums | {"loss": total})
        norm = self._update(rate(r.optimiser, self.step, progress))
        self.step += 1
        self.tokens += int(sums["tokens"])
        spent = time.monotonic() - start
        self.seconds += spent
        changing = curriculum.values(r.curriculum, progress)
        line: dict[str, Any] = {
            "step": self.step,
            "loss": sums["loss"],
            "norm": norm,
            "rate": rate(r.optimiser, self.step - 1, progress),
            "tokens": self.tokens,
            "seconds": self.seconds,
            "tokens_per_second": sums["tokens"] / max(spent, 1e-9),
            "curriculum": {k: v if isinstance(v, int | float) else repr(v) for k, v in changing.items()},
        }
        if measured:
            line["noise_scale"] = noise_scale(norm, sums["squares"], len(micros), len(tasks))
        return line | summary(sums)

    def counts(self, jobs: Sequence[Any]) -> dict[str, Tensor]:
        """What losses are divided by, over all micro-batches of all processes."""
        mine: dict[str, float] = {}
        for job in jobs:
            for name, value in job.counts.items():
                mine[name] = mine.get(name, 0.0) + float(value)
        found = self.processes.total(mine)
        return {name: torch.tensor(value, device=self.processes.device) for name, value in found.items()}

    def _seed(self, number: int) -> None:
        """Dropout and whatever else draws from torch: a function of the run's seed, the step and the first document."""
        keys = torch.tensor([self.recipe.seed, self.step, number, key("torch")])
        state = torch.zeros((), dtype=torch.int64)
        for one in keys:
            state = mix(state + one)
        torch.manual_seed(int(state) & ((1 << 62) - 1))

    @contextmanager
    def _alone(self, measured: bool) -> Iterator[list[float]]:
        """Gradients of one micro-batch, added to the others' on leaving; [its squared norm] where it is measured."""
        found: list[float] = []
        apart = measured and self.half is None
        held = [p.grad for p in self.weights.values()] if apart else []
        if apart:
            for p in self.weights.values():
                p.grad = None
        yield found
        if measured:
            grads = [p.grad for p in self.runs.parameters() if p.grad is not None]
            found.append(float(sum(n.double() ** 2 for n in torch._foreach_norm(grads))) if grads else 0.0)
        if self.half:
            self.half.gather()
        for p, before in zip(self.weights.values(), held, strict=False):
            if before is not None:
                p.grad = before if p.grad is None else before.add_(p.grad)

    def _update(self, share: float) -> float:
        """Clip and step; the gradient's norm. Stopped where it is not finite, with the weights untouched."""
        clip = self.recipe.optimiser.clip or math.inf
        norm = float(whole(nn.utils.clip_grad_norm_(self.weights.values(), clip)))
        if not math.isfinite(norm):
            raise Stopped(
                f"the gradient of step {self.step} is not finite ({norm}), so the weights were left as they were; lower the "
                "rate (--lr) or train without --bf16, and go on with --resume from the last checkpoint."
            )
        advance(self.optimisers, share)
        if self.ema:
            self.ema.update()
        return norm

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """What a checkpoint holds: tensors by file, in one piece and on the CPU, and numbers. A collective; processes other
        than the main one get no tensors."""
        names = {id(p): name for name, p in self.weights.items()}
        lasting = self.whole.state_dict().keys()
        buffers = {k: v for k, v in self.whole.named_buffers() if k in lasting}
        files = {
            "model": {**self.weights, **buffers},
            "optimiser": dict(leaves(self.optimisers, names)),
            "ema": self.ema.values if self.ema else {},
        }
        tensors: dict[str, dict[str, Tensor]] = {file: {} for file in files}
        for file, values in files.items():
            for name, value in values.items():
                one = whole(value.detach())
                if self.processes.main:
                    tensors[file][name] = one.cpu()
        numbers = {"step": self.step, "tokens": self.tokens, "seconds": self.seconds}
        return tensors, numbers | ({"updates": self.ema.updates} if self.ema else {})


def networks(recipe: Recipe, model: Model) -> dict[str, nn.Module]:
    """The model as "main", what the program brings by `networks(traits, config)`, and where the recipe needs a "teacher"
    a frozen copy of the model as it is now."""
    found: dict[str, nn.Module] = {"main": model.backbone}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        for part in parts(recipe.program):
            if hasattr(part, "networks"):
                found |= part.networks(model.traits, model.backbone.config)
    if "teacher" in recipe.needs and "teacher" not in found:
        found["teacher"] = copy.deepcopy(model.backbone).requires_grad_(False)
    return found


def parts(value: Any) -> Iterator[Any]:
    """A program and every frozen part inside it."""
    if isinstance(value, tuple):
        for one in value:
            yield from parts(one)
    elif dataclasses.is_dataclass(value):
        yield value
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name))


def one_forward(program: Any) -> bool:
    """Whether every micro-batch costs each process the same forwards, so that they may gather weights in step."""
    if isinstance(program, Mixture | Summed):
        return all(one_forward(inner) for _, inner in program.programs)
    return type(program) is Objective


def restore(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Saved tensors into a module by name; all must fit."""
    own = model.state_dict()
    for name, value in saved.items():
        if name not in own or own[name].shape != value.shape:
            raise BadInput(
                f"the checkpoint holds {name}, which this model does not have; resume with the options it had."
            )
        own[name].copy_(value)
