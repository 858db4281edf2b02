"""What the benchmarks share: options, clocks, models of a stated size, one line or one JSON object of results."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

import redraft
from redraft.core.traits import Traits
from redraft.core.types import Prompt
from redraft.models.backbone import Backbone, BackboneConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def options(about: str, rounds: int) -> argparse.ArgumentParser:
    """--json --threads --dtype --rounds, the same for every program."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    parser.add_argument("--rounds", type=int, default=rounds, help="repetitions; medians are reported")
    return parser


def setting(args: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """Sets the threads and says what is measured."""
    torch.set_num_threads(args.threads)
    return {
        **more, "dtype": args.dtype, "threads": args.threads, "rounds": args.rounds, "device": "cpu",
        "versions": {"redraft": redraft.__version__, "torch": torch.__version__, "python": platform.python_version()},
    }  # fmt: skip


def show(args: argparse.Namespace, result: dict[str, Any]) -> None:
    if args.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:24} {value}")


@dataclass
class Clock:
    """Wall and CPU seconds of the stretches between start and stop, one entry each. CPU time is the process's, so that it is not
    disturbed by what else runs on the machine."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    began: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def stop(self, same: bool = False) -> None:
        """Ends a stretch; same: it counts to the one before."""
        wall, cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        if same:
            wall, cpu = wall + self.wall.pop(), cpu + self.cpu.pop()
        self.wall.append(wall)
        self.cpu.append(cpu)

    def time(self, run: Callable[[], Any]) -> Any:
        self.start()
        out = run()
        self.stop()
        return out


def typical(rounds: Sequence[Clock], kind: str) -> float:
    """Seconds of one round: each stretch's median over the rounds, summed."""
    return sum(map(statistics.median, zip(*(getattr(c, kind) for c in rounds), strict=True)))


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def small(vocab: int, dtype: torch.dtype, layers: int = 8, seed: int = 0) -> tuple[Backbone, BackboneConfig]:
    """A random LLaDA-like transformer of 15 million parameters at a vocabulary of 32768: width 256, SwiGLU 704, tied head."""
    torch.manual_seed(seed)
    config = BackboneConfig(
        vocab_size=vocab, hidden_size=256, intermediate_size=704, num_layers=layers, num_heads=4, num_kv_heads=4, head_dim=64,
        tie_embeddings=True,
    )  # fmt: skip
    return sharpened(Backbone(config)).to(dtype).eval(), config


def sharpened(backbone: Backbone) -> Backbone:
    """Weights whose predictions differ from place to place, so that equal tokens prove something, and are never sure."""
    with torch.no_grad():
        for name, p in backbone.named_parameters():
            if p.dim() > 1:
                p.normal_(0.0, 0.1 if "embedding" in name else p.shape[-1] ** -0.5)
    return backbone


def parameters(backbone: torch.nn.Module) -> int:
    return sum(p.numel() for p in backbone.parameters())


def masked(vocab: int, **more: Any) -> Traits:
    """Traits of a masked model whose last id is the mask and that never ends early."""
    return Traits(mask=vocab - 1, eos=(), vocab=vocab, **more)


def prompts(count: int, length: int, new: int, vocab: int, seed: int = 0) -> list[Prompt]:
    ids = torch.randint(0, vocab - 2, (count, length), generator=torch.Generator().manual_seed(seed))
    return [Prompt(tuple(row), new, seed=i) for i, row in enumerate(ids.tolist())]
