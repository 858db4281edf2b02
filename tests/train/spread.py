"""One process of the runs that tests/train/test_distributed.py compares: python -m tests.train.spread FOLDER DATA."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from redraft.train.loop import Run
from redraft.train.telemetry import inner
from tests.train.runs import go

PLAIN: dict[str, Any] = {"steps": 3, "ema": 0.9, "batch": 5, "micro": 2, "sets": ("optimiser.muon=False",)}


def runs(data: str) -> dict[str, dict[str, Any]]:
    """Options by name: replicated and split weights; programs of several forwards; one process without work."""
    return {
        "ddp": PLAIN,
        "ddp_muon_bf16": PLAIN | {"sets": (), "bf16": True},
        "fsdp": PLAIN | {"fsdp": True},
        "fsdp_idle_recomputed": PLAIN | {"fsdp": True, "batch": 2, "recompute": True},
        "fsdp_forwards": {
            "recipe": "dot",
            "data": (data,),
            "fsdp": True,
            "steps": 3,
            "batch": 5,
            "micro": 2,
            "sets": ("rows.context=64", "program.own=0.5"),
        },
    }


def main(folder: Path, data: str) -> None:
    torch.set_num_threads(1)
    noise: dict[str, list[Any]] = {}
    plain = Run.counts

    def counts(self: Run, jobs: Any) -> Any:
        for job in jobs:
            found = inner(job)
            assert found is not None
            canvas, noised = found
            for row in range(len(canvas.tokens)):
                key = f"{int(canvas.sample[row, 0])}"
                width = int(canvas.valid[row].sum())
                noise[key] = [noised.tokens[row, :width].tolist(), noised.time[row, :width].tolist()]
        return plain(self, jobs)

    Run.counts = counts  # type: ignore[method-assign]
    import torch.distributed as dist

    from redraft.train.processes import Processes

    Processes.close = lambda self: None  # type: ignore[method-assign]  # the group serves several runs
    for name, changes in runs(data).items():
        noise.clear()
        go(folder / name, **changes)
        rank = dist.get_rank() if dist.is_initialized() else 0
        (folder / f"{name}.noise.{rank}").write_text(json.dumps(noise))
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
