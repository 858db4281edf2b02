"""Temperature, top-k, top-p, min-p and repetition penalty, the same for every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...core.errors import BadInput
from ...core.slots import Drawing, Leaves
from ...core.types import Draw, Segments, State


@dataclass(frozen=True)
class Sample(Drawing):
    """temperature 0 takes the arg max. confidence: whether scores read the raw or the filtered distribution. suppress ids never appear;
    distrust ids may be drawn but count as probability 0. suppress_eos and distrust_eos add the model's own end ids (LLaDA's options;
    as in its code, at temperature > 0 the first end id is trusted). top_k_first: top-p reads what top-k kept (SDAR), else the other
    way round (Dream)."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    confidence: Literal["raw", "filtered"] = "raw"
    precision: Literal["float32", "float64"] = "float32"
    suppress: tuple[int, ...] = ()
    distrust: tuple[int, ...] = ()
    suppress_eos: bool = False
    distrust_eos: bool = False
    top_k_first: bool = False

    def __post_init__(self) -> None:
        self.within(0.0, 100.0, "temperature")
        if 0 < self.temperature < 1e-3:
            raise BadInput(
                f"expected a temperature of 0 (arg max) or at least 0.001, found {self.temperature}; change the value."
            )
        self.within(0, 2**31, "top_k")
        self.within(1e-6, 1.0, "top_p")
        self.within(0.0, 1.0, "min_p")
        self.within(1e-3, 100.0, "repetition_penalty")

    def draw(self, s: State, seg: Segments, m: Leaves) -> Draw:
        ends = s.traits.eos
        suppress = self.suppress + (ends[:1] if self.suppress_eos else ())
        distrust = self.distrust + ((ends[1:] if self.temperature > 0 else ends) if self.distrust_eos else ())
        return Draw(
            self.temperature, self.top_k, self.top_p, self.min_p, self.repetition_penalty, self.confidence, self.precision,
            suppress, distrust, self.top_k_first,
        )  # fmt: skip
