"""What a run says of itself: loss by time and place, gradient norm and noise; log.jsonl, TensorBoard, W&B, a plot."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..objectives import Canvas, Loss, Noised
from .checkpoint import writing
from .data import PIECE

TIMES, PLACES = 10, 8  # buckets
LOG, PLOT = "log.jsonl", "curves.png"


def inner(job: Any) -> tuple[Canvas, Noised] | None:
    """The canvas and the noise of a prepared batch, in whatever a program wrapped them; None where it keeps none."""
    if isinstance(job, tuple):
        return next((found for one in job if (found := inner(one))), None)
    if not dataclasses.is_dataclass(job) or isinstance(job, type | Canvas | Noised):
        return None
    parts = {f.name: getattr(job, f.name) for f in dataclasses.fields(job)}
    canvas, noised = parts.get("canvas"), parts.get("noised")
    if isinstance(canvas, Canvas) and isinstance(noised, Noised):
        return canvas, noised
    return next((found for one in parts.values() if (found := inner(one))), None)


@torch.no_grad()
def measure(job: Any, loss: Loss, tasks: Mapping[int, str], block: int) -> dict[str, float]:
    """Sums of one micro-batch by name; sums of micro-batches and processes add up, `summary` makes means of them.

    tasks: a document's number -> its task. block: the model's; 0 has places counted in eighths of the row.
    """
    out = {f"part.{name}": float(value) for name, value in loss.parts.items()}
    found = inner(job)
    if found is None:
        return out
    canvas, noised = found
    out |= {"hit": float(noised.hit.sum()), "answer": float(canvas.answer.sum())}
    if loss.each is None or loss.time is None or loss.each.shape != canvas.tokens.shape:
        return out
    seen = ~loss.each.isnan()
    values = loss.each[seen].double()
    place = canvas.place % block * PLACES // block if block > 1 else canvas.place * PLACES // canvas.tokens.shape[1]
    _add(out, "time", (loss.time[seen] * TIMES).long().clamp(0, TIMES - 1), values)
    _add(out, "place", place[seen].clamp(0, PLACES - 1), values)
    numbers, index = canvas.sample[seen].remainder(PIECE).unique(return_inverse=True)
    names = sorted(set(tasks.values()))
    if any(names):
        which = torch.tensor([names.index(tasks.get(int(n), names[0])) for n in numbers], dtype=torch.int64)
        _add(out, "task", which.to(index.device)[index], values, names)
    return out


def _add(out: dict[str, float], kind: str, index: Tensor, values: Tensor, names: list[str] | None = None) -> None:
    """Number, sum and sum of squares of the values, by index."""
    size = int(index.max()) + 1 if len(index) else 0
    for power in range(3):
        sums = torch.zeros(size, dtype=torch.float64, device=values.device).index_add_(0, index, values**power)
        for i, value in enumerate(sums.tolist()):
            key = f"{kind}.{names[i] if names else i}.{power}"
            out[key] = out.get(key, 0.0) + value


def summary(sums: Mapping[str, float]) -> dict[str, Any]:
    """Means from sums: loss parts, mask rate, loss by task, and loss with its spread by time and place."""

    def table(kind: str) -> dict[str, tuple[float, float]]:
        names = [k.split(".", 1)[1].rpartition(".")[0] for k in sums if k.startswith(f"{kind}.") and k.endswith(".0")]
        means = {}
        for name in names:
            num, total, squares = (sums[f"{kind}.{name}.{power}"] for power in range(3))
            if num:
                means[name] = (total / num, math.sqrt(max(squares / num - (total / num) ** 2, 0.0)))
        return means

    def row(kind: str, size: int, which: int) -> list[float | None]:
        found = table(kind)
        return [round(found[str(i)][which], 5) if str(i) in found else None for i in range(size)]

    out: dict[str, Any] = {
        "parts": {k.removeprefix("part."): v for k, v in sorted(sums.items()) if k.startswith("part.")},
        "mask_rate": sums["hit"] / sums["answer"] if sums.get("answer") else None,
        "losses": {name: mean for name, (mean, _) in sorted(table("task").items())},
    }
    for kind, size in (("time", TIMES), ("place", PLACES)):
        out |= {f"loss_by_{kind}": row(kind, size, 0), f"spread_by_{kind}": row(kind, size, 1)}
    return out


def noise_scale(norm: float, squares: float, num: int, documents: int) -> float | None:
    """The simple noise scale in documents (arXiv:1812.06162): the variance of one document's gradient over |G|^2.

    norm     of the whole gradient, the sum of `num` micro-batches'
    squares  sum of the squared norms of the micro-batches' parts
    """
    if num < 2:
        return None
    variance = (num * num * squares - num * norm * norm) / (num - 1)
    signal = norm * norm - variance / num
    return variance * documents / num / signal if signal > 0 else None


class Log:
    """log.jsonl in the run's folder, TensorBoard and W&B where they are installed and asked for."""

    def __init__(self, out: Path, step: int, say: Callable[[str], None], board: bool, wandb: bool, name: str) -> None:
        self.path, self.writer, self.wandb = out / LOG, None, None
        with writing(self.path):
            _cut(self.path, step)
            self.file = self.path.open("a", encoding="utf-8")
        if board:
            try:
                from torch.utils.tensorboard import SummaryWriter

                self.writer = SummaryWriter(str(out / "tensorboard"), purge_step=step)
            except ImportError:
                say("TensorBoard is not installed (pip install 'redraft[train]'); log.jsonl holds the same numbers.")
        if wandb:
            try:
                self.wandb = __import__("wandb")
                self.wandb.init(project="redraft", name=name, dir=str(out), resume="allow")
            except ImportError:
                say("W&B is not installed (pip install wandb); log.jsonl holds the same numbers.")

    def write(self, line: Mapping[str, Any]) -> None:
        """One step. Stopped where the disk is full."""
        flat = dict(scalars(line))
        with writing(self.path):
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
            if self.writer is not None:
                for name, value in flat.items():
                    self.writer.add_scalar(name, value, int(line["step"]))
        if self.wandb is not None:
            self.wandb.log(flat, step=int(line["step"]))

    def close(self) -> None:
        self.file.close()
        if self.writer is not None:
            self.writer.close()
        if self.wandb is not None:
            self.wandb.finish()


def scalars(line: Mapping[str, Any], before: str = "") -> list[tuple[str, float]]:
    """The numbers of a log line by name."""
    out: list[tuple[str, float]] = []
    for key, value in line.items():
        if isinstance(value, Mapping):
            out += scalars(value, f"{before}{key}/")
        elif isinstance(value, list):
            out += scalars({str(i): v for i, v in enumerate(value)}, f"{before}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            out.append((before + key, float(value)))
    return out


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log."""
    out = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            out.append(json.loads(text))
        except json.JSONDecodeError:
            continue  # the last line of a run that was killed
    return out


def _cut(path: Path, step: int) -> None:
    """Drop lines behind `step`: a resumed run writes them again."""
    if path.exists():
        kept = [line for line in lines(path) if line["step"] <= step]
        part = path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        part.replace(path)


def plot(out: Path, name: str) -> Path | None:
    """Loss, rate and the curriculum's numbers over the run as curves.png; None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return None
    found = lines(out / LOG)
    curves = sorted({key for line in found for key, v in line["curriculum"].items() if isinstance(v, int | float)})
    figure = Figure(figsize=(8, 2.2 * (2 + len(curves))), layout="constrained")
    axes = figure.subplots(2 + len(curves), 1, sharex=True, squeeze=False)[:, 0]
    step = [line["step"] for line in found]
    axes[0].plot(step, [line["loss"] for line in found], linewidth=0.8)
    axes[1].plot(step, [line["rate"] for line in found], linewidth=0.8)
    for axis, key in zip(axes[2:], curves, strict=True):
        axis.plot(step, [line["curriculum"].get(key) for line in found], drawstyle="steps-post")
    for axis, label in zip(axes, ("loss", "share of the peak rate", *curves), strict=True):
        axis.set_ylabel(label, fontsize=8)
    axes[0].set_title(name)
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(out / PLOT, dpi=110)
    return out / PLOT
