"""One loop trains every recipe: draw samples, group them by width, lower the objective's loss, log, look, save.

A run is a function of the recipe and its seed: samples are numbered through, noise is keyed by the number, so a
resumed run continues as if it had not stopped. Checkpoints are safetensors plus json, each written under another name
and then moved.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from ..core.noise import keyed_uniform
from ..models.backbone import Backbone
from ..objectives import Objective
from ..recipes.recipe import Recipe
from .data import Source, buckets, canvas, read_stories

GROUP = 1 << 40  # draws of groups, far from the draws of samples


def initialise(model: nn.Module, seed: int) -> None:
    """Normal weights, 0.02 for the embedding and 1 / sqrt(fan in) for matrices; residual outputs start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue
        if name.endswith(("attn.o.weight", "mlp.down.weight")):
            nn.init.zeros_(weight)
        else:
            std = 0.02 if "embedding" in name else weight.shape[1] ** -0.5
            nn.init.normal_(weight, std=std, generator=generator)


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Write under another name, then move: a reader sees the old file or the new one."""
    part = path.with_name(path.name + ".part")
    save(part)
    part.chmod(0o644)  # safetensors makes its files readable by their owner only
    os.replace(part, path)


@dataclass
class Run:
    """A training run under way."""

    recipe: Recipe
    source: Source
    out: Path
    model: Backbone = field(init=False)
    step: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        self.model = Backbone(self.recipe.model)
        initialise(self.model, self.recipe.seed)
        # with bf16 the forward and backward run on a copy; the float32 weights and gradients stay here
        self.worker = copy.deepcopy(self.model).bfloat16() if self.recipe.bf16 else self.model
        o = self.recipe.optimiser
        inner = [p for n, p in self.model.named_parameters() if p.ndim == 2 and n.startswith("layers.") and o.muon]
        taken = {id(p) for p in inner}
        rest = [p for p in self.model.parameters() if id(p) not in taken]
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [
                    {"params": [p for p in rest if p.ndim > 1], "weight_decay": o.weight_decay},
                    {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
                ],
                lr=o.lr,
                betas=o.betas,
            )
        ]
        if inner:
            self.optimisers.append(torch.optim.Muon(inner, lr=o.muon_lr, weight_decay=o.weight_decay))
        self._peaks = [[g["lr"] for g in opt.param_groups] for opt in self.optimisers]

    @torch.no_grad()
    def _scatter(self) -> None:
        if self.worker is not self.model:
            for copied, own in zip(self.worker.parameters(), self.model.parameters(), strict=True):
                copied.copy_(own)

    @torch.no_grad()
    def _gather(self) -> None:
        if self.worker is not self.model:
            for copied, own in zip(self.worker.parameters(), self.model.parameters(), strict=True):
                if copied.grad is not None:
                    own.grad = copied.grad.float() if own.grad is None else own.grad.add_(copied.grad)
                    copied.grad = None

    def rate(self, progress: float) -> float:
        """Warm-up, flat, then linearly to zero; progress is the run's elapsed share in [0, 1]."""
        o = self.recipe.optimiser
        return min((self.step + 1) / max(o.warmup, 1), 1.0) * min((1.0 - progress) / o.decay, 1.0)

    def objective(self, group: int) -> Objective:
        """The objective of group number `group` of this step."""
        chance = float(keyed_uniform(self.recipe.seed, GROUP, self.step, group))
        total = sum(share for share, _ in self.recipe.objectives)
        for share, objective in self.recipe.objectives:
            chance -= share / total
            if chance < 0:
                return objective
        return self.recipe.objectives[-1][1]

    def advance(self, progress: float) -> dict[str, Any]:
        """One step: forward, backward, update. Returns the log line."""
        start, recipe = time.monotonic(), self.recipe
        self._scatter()
        stage, first = recipe.stage(self.step), recipe.samples(self.step)
        numbers = list(range(first, first + stage.batch))
        samples = [self.source.sample(n, dict(stage.mix)) for n in numbers]
        sums: dict[str, list[float]] = {}
        total, tokens = 0.0, 0
        for number, group in enumerate(buckets(samples)):
            batch = canvas([samples[i] for i in group], [numbers[i] for i in group], pad=0)
            loss, rows = self.objective(number).loss(self.worker, batch, recipe.seed)
            share = len(group) / stage.batch
            (loss * share).backward()
            self._gather()
            total += loss.item() * share
            tokens += int(batch.valid.sum())
            for i, row in zip(group, rows.tolist(), strict=True):
                sums.setdefault(samples[i].task, []).append(row)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), recipe.optimiser.clip))
        scale = self.rate(progress)
        for opt, peaks in zip(self.optimisers, self._peaks, strict=True):
            for g, peak in zip(opt.param_groups, peaks, strict=True):
                g["lr"] = peak * scale
            opt.step()
            opt.zero_grad(set_to_none=True)
        if not math.isfinite(norm):
            raise FloatingPointError(f"the gradient of step {self.step} is not finite; lower the rate and resume")
        self.step += 1
        self.tokens += tokens
        self.seconds += time.monotonic() - start
        losses = {name: sum(v) / len(v) for name, v in sorted(sums.items())}
        return {
            "step": self.step,
            "loss": total,
            "norm": norm,
            "rate": scale,
            "seconds": self.seconds,
            "losses": losses,
        }

    def save(self) -> None:
        """model.safetensors and state.safetensors + state.json in `out`."""
        self.out.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {f"model.{k}": v.contiguous() for k, v in self.model.state_dict().items()}
        for number, opt in enumerate(self.optimisers):
            for index, leaves in opt.state_dict()["state"].items():
                for key, leaf in leaves.items():
                    tensors[f"opt.{number}.{index}.{key}"] = torch.as_tensor(leaf).contiguous()
        meta = {"step": str(self.step), "seconds": str(self.seconds), "tokens": str(self.tokens)}
        write(self.out / "state.safetensors", lambda p: save_file(tensors, p, metadata=meta))
        write(self.out / "state.json", lambda p: p.write_text(json.dumps(meta) + "\n"))

    def resume(self) -> bool:
        """Take up `out`'s checkpoint; False where there is none."""
        path = self.out / "state.safetensors"
        if not path.exists():
            return False
        tensors = load_file(path)
        self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        for number, opt in enumerate(self.optimisers):
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                kind, *place = key.split(".")
                if kind == "opt" and int(place[0]) == number:
                    state.setdefault(int(place[1]), {})[place[2]] = value
            opt.load_state_dict({"state": state, "param_groups": opt.state_dict()["param_groups"]})
        with safe_open(path, "pt") as file:
            meta = file.metadata()
        self.step, self.seconds, self.tokens = int(meta["step"]), float(meta["seconds"]), int(meta["tokens"])
        return True


def train(
    recipe: Recipe,
    tokenizer: Tokenizer,
    out: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    stop_after: int | None = None,
    stories: Path | None = None,
    save_every: float = 240.0,
    look_every: float = 600.0,
    look: Callable[[Backbone, int], dict[str, float]] | None = None,
    say: Callable[[str], None] = print,
) -> Run:
    """Train until the recipe's steps or `minutes` of training time are over; the rate's decay follows whichever it is.

    stop_after: leave after that step with a checkpoint, as if interrupted.
    """
    path = stories or Path(recipe.stories)
    source = Source(
        tokenizer, recipe.block, recipe.seed, read_stories(path, recipe.num_stories) if path.exists() else None
    )
    run = Run(recipe, source, out)
    out.mkdir(parents=True, exist_ok=True)
    if resume and run.resume():
        say(f"resumed at step {run.step} after {run.seconds / 60:.1f} minutes")
    saved = looked = run.seconds
    smooth: dict[str, float] = {}
    with (out / "log.jsonl").open("a") as log:
        while run.step < min(recipe.steps, stop_after or recipe.steps):
            progress = max(run.step / recipe.steps, run.seconds / (60 * minutes) if minutes else 0.0)
            if progress >= 1:
                break
            line = run.advance(progress)
            for name, loss in line["losses"].items():
                smooth[name] = loss if name not in smooth else 0.95 * smooth[name] + 0.05 * loss
            log.write(json.dumps(line) + "\n")
            if run.step % 50 == 0:
                log.flush()
                parts = " ".join(f"{name} {loss:.3f}" for name, loss in sorted(smooth.items()))
                say(f"{run.step} {run.seconds / 60:.1f}min {run.tokens / 1e6:.2f}M rate {line['rate']:.2f} {parts}")
            if run.seconds - saved > save_every:
                run.save()
                saved = run.seconds
            if look is not None and run.seconds - looked > look_every:
                say("look " + json.dumps(look(run.model, run.step)))
                looked = run.seconds
    run.save()
    return run
