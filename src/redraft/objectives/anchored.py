"""ADLM (arXiv:2505.18456): an anchor network first says what the important tokens are, and the denoiser reads its soft
predictions instead of masks: p(x | z) = denoiser(anchor(z))."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..core.draws import Draws
from ..core.errors import BadInput
from ..core.traits import Traits
from ..models.backbone import Backbone, BackboneConfig
from .canvas import Canvas
from .given import Given
from .objective import Job, Loss, Models, Objective, Reading, read
from .view import NOISED


def rare_here(canvas: Canvas, most: int) -> Tensor:
    """(B, T) bool, tokens that occur at most `most` times in their document."""
    same = canvas.tokens[:, :, None] == canvas.tokens[:, None, :]
    mine = canvas.document[:, :, None] == canvas.document[:, None, :]
    return (same & mine & canvas.valid[:, None, :]).sum(2) <= most


@dataclass(frozen=True)
class AnchorJob:
    job: Job
    anchors: Reading

    @property
    def counts(self) -> dict[str, Tensor]:
        return self.job.counts


@dataclass(frozen=True)
class Anchored:
    """The objective's loss of the denoiser ("main") that reads the anchor network's predictions, and `share` times the
    same weighted loss of the anchor network on masked anchors.

    most    an anchor is a token that occurs at most so often in its document
    share   gamma
    layers  of the anchor network, as a share of the model's
    """

    objective: Objective = Objective()
    share: float = 3e-3
    most: int = 2
    layers: float = 0.5

    def networks(self, traits: Traits, model_config: Any) -> dict[str, nn.Module]:
        """The anchor network, to be trained with the model."""
        if not isinstance(model_config, BackboneConfig):
            raise BadInput(
                f"an anchor network needs a backbone's shapes, found {type(model_config).__name__}; train from scratch."
            )
        num = max(round(model_config.num_layers * self.layers), 1)
        return {"anchor": Backbone(dataclasses.replace(model_config, num_layers=num))}

    def prepare(self, canvas: Canvas, draws: Draws, traits: Traits) -> AnchorJob:
        job = self.objective.prepare(canvas, draws, traits)
        main = job.readings[0]
        keep = rare_here(job.canvas, self.most)[main.row, main.column]
        targets = main.targets
        assert targets is not None
        few = dataclasses.replace(
            targets, **{name: getattr(targets, name)[keep] for name in ("clean", "seen", "time", "rate", "hit")}
        )
        part = {name: getattr(main, name)[keep] for name in ("row", "at", "column", "weight")}
        return AnchorJob(job, dataclasses.replace(main, name="anchor", targets=few, **part))

    def run(self, models: Models, job: AnchorJob, counts: Mapping[str, Tensor]) -> Loss:
        inner, anchor = job.job, models["anchor"]
        first = self.objective.hidden({**models, "main": anchor}, inner)
        masked = inner.noised.hit.gather(1, inner.view.source) & (inner.view.stream == NOISED)
        masked &= inner.view.document >= 0
        # the anchor's distribution, as a mixture of the denoiser's embeddings
        table = models["main"].embedding.weight
        logits = anchor.head(first[masked]).float()
        if inner.traits.mask is not None:
            logits = logits.index_fill(1, torch.tensor([inner.traits.mask], device=logits.device), float("-inf"))
        reader = Given(models["main"], masked.flatten(), logits.softmax(-1).to(table.dtype) @ table)
        hidden = self.objective.hidden({**models, "main": reader}, inner)
        found = self.objective.losses(models, inner, counts, hidden)
        value, _ = read(anchor, first, job.anchors)
        value = value / counts["loss"].clamp_min(1e-9)
        return dataclasses.replace(
            found, value=found.value + self.share * value, parts=found.parts | {"anchor": value.detach()}
        )
