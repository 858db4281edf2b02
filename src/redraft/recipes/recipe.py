"""A recipe: everything a training run is, as one frozen value. A file of this folder names one."""

from __future__ import annotations

from dataclasses import dataclass

from ..models.backbone import BackboneConfig
from ..objectives import Objective


@dataclass(frozen=True)
class Optimiser:
    """Muon (orthogonalised momentum) for the layers' matrices, AdamW for the rest; muon=False: AdamW for all."""

    lr: float = 3e-3
    muon: bool = True
    muon_lr: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.02
    clip: float = 1.0
    warmup: int = 100  # steps
    decay: float = 0.5  # the last share of the run, over which the rate falls to zero


@dataclass(frozen=True)
class Stage:
    """From step `start` on: samples a step, and the mix of data as (task, share)."""

    start: int
    batch: int
    mix: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Recipe:
    """objectives are (share, objective): every group of rows draws one. Stages follow one another, from 0."""

    name: str
    model: BackboneConfig
    block: int
    context: int
    objectives: tuple[tuple[float, Objective], ...]
    stages: tuple[Stage, ...]
    optimiser: Optimiser = Optimiser()
    steps: int = 10_000  # a run may end earlier, by the clock
    seed: int = 0
    bf16: bool = False  # forward and backward in bfloat16 over float32 weights
    num_stories: int = 0  # 0: all of the file; else the so many shortest
    stories: str = "../shared/data/tinystories_sample/stories.jsonl.gz"

    def stage(self, step: int) -> Stage:
        """The stage that `step` belongs to."""
        return max((s for s in self.stages if s.start <= step), key=lambda s: s.start)

    def samples(self, step: int) -> int:
        """How many samples were drawn before `step`."""
        ends = [*(s.start for s in self.stages[1:]), step]
        return sum(s.batch * max(min(end, step) - s.start, 0) for s, end in zip(self.stages, ends, strict=True))
