"""Small worlds for the contracts: traits of every kind of model, an executor that makes predictions up, tiny random weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from hypothesis import HealthCheck, settings
from torch import Tensor

from redraft import methods
from redraft.core.method import Method, walk
from redraft.core.noise import keyed_uniform
from redraft.core.part import INNER, SLOTS, Part
from redraft.core.traits import Traits
from redraft.core.types import Ask, Prediction, Prompt
from redraft.models import Backbone, BackboneConfig, Model
from redraft.ops.statistics import statistics

FULL = bool(os.environ.get("REDRAFT_FULL"))
settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), max_examples=60
)
settings.register_profile("full", deadline=None, suppress_health_check=list(HealthCheck), max_examples=600)
settings.load_profile("full" if FULL else "ci")

ROWS, VOCAB, MASK, EOS = 27, 23, 20, 21  # head rows, true ids, and two of them

KINDS: dict[str, Traits] = {
    "full": Traits(mask=MASK, eos=(EOS,), vocab=VOCAB),
    "full_shifted": Traits(mask=MASK, eos=(EOS,), vocab=VOCAB, shift=True),
    "block": Traits(mask=MASK, eos=(EOS,), vocab=VOCAB, attention="block", block=4),
    "block_shifted": Traits(mask=MASK, eos=(EOS, 19), vocab=VOCAB, attention="block", block=4, shift=True),
    "block_edits": Traits(mask=MASK, eos=(EOS,), vocab=VOCAB, attention="block", block=8, edits=True),
    "causal": Traits(mask=None, eos=(EOS,), vocab=VOCAB, attention="causal", block=1, shift=True),
    "uniform": Traits(mask=None, eos=(EOS,), vocab=VOCAB, attention="encoder_decoder", block=6, noise="uniform"),
}

NATIVE = {"causal": "autoregressive", "uniform": "diffusion_gemma(steps=5)"}


def native(kind: str) -> str:
    """A method that any model of the kind runs, to put single parts into."""
    return NATIVE.get(kind, "llada(block=4)")


def fits(method: Method | Part, traits: Traits) -> bool:
    """Whether a model has what a method or part states to need, spelled out here once more."""
    has = set()
    has |= {"mask"} if traits.mask is not None else set()
    has |= {"block"} if traits.attention in ("block", "causal") else set()
    has |= {"causal"} if traits.attention == "causal" else set()
    has |= {"edits"} if traits.edits else set()
    has |= {"uniform"} if traits.noise == "uniform" else set()
    needs = method.needs if isinstance(method, Method) else {n for one in walk(method) for n in one.needs}
    return set(needs) <= has


def put(method: Method, slot: str, part: Part) -> Method:
    return methods.override(method, slot, part)


PROMPTS = (
    Prompt((1, 2, 3), 9, seed=5),
    Prompt((4,), 12, seed=6),
    Prompt((5, 6, 7, 8, 9, 10, 11), 5, seed=7, pins=((2, (3, 3)),)),
    Prompt((MASK, 2, 2, 1), 8, suffix=(7, 8), seed=8),
    Prompt((12, 13, 14, 15), 7, seed=9),
)
PLAIN = tuple(replace(p, suffix=(), pins=()) for p in PROMPTS)


def prompts_for(kind: str) -> tuple[Prompt, ...]:
    """Causal and encoder-decoder models fill what stands between prompt and end; pins are for models with a mask."""
    return PLAIN if kind in ("causal", "uniform") else PROMPTS


@dataclass
class Oracle:
    """An executor without a model: logits are a hash of (slot, column, what stands on the row), so a row alone gets what it gets in a
    batch. It checks every ask: nothing is read that was not stored, and what a wanted prediction needs runs.

    favour  ids whose logits are raised (the mask id, say)
    """

    traits: Traits
    scale: float = 6.0
    favour: dict[int, float] = field(default_factory=dict)
    has: dict[tuple[str, int, int], bool] = field(default_factory=dict)

    def run(self, asks: Sequence[Ask]) -> list[Prediction]:
        return [self.one(ask) for ask in asks]

    def one(self, ask: Ask) -> Prediction:
        read = (ask.read & ~ask.run).nonzero().tolist()
        slots = ask.slot.tolist()
        for row, column in read:
            assert self.has.get((ask.stream, slots[row], column)), f"row {row} reads column {column}, never stored"
        assert not bool((ask.write & ~ask.run).any()), "a column is written that did not run"
        for row, column in ask.write.nonzero().tolist():
            self.has[ask.stream, slots[row], column] = True
        ran = ask.run
        if self.traits.shift:
            ran = torch.cat((ran[:, :1], ran[:, :-1]), 1)
        return self.predict(ask, ask.want & ran)

    def logits(self, ask: Ask) -> Tensor:
        weights = torch.arange(1, ask.tokens.shape[1] + 1)[None]
        stands = (ask.tokens * weights * (ask.run | ask.read)).sum(1)
        columns = torch.arange(ask.tokens.shape[1])
        uniform = keyed_uniform(
            ask.slot[:, None, None], stands[:, None, None], columns[None, :, None], torch.arange(ROWS)
        )
        z = (uniform.float() - 0.5) * self.scale
        for token, more in self.favour.items():
            z[..., token] += more
        return z

    def predict(self, ask: Ask, got: Tensor) -> Prediction:
        z = self.logits(ask)
        row, column = got.nonzero(as_tuple=True)
        banned = () if self.traits.mask is None else (self.traits.mask,)
        held = ask.tokens if ask.held is None else ask.held
        values = statistics(
            z[row, column], ask.draw, ask.need, banned, self.traits.vocab,
            uniform=None if ask.uniform is None else ask.uniform[row, column], held=held[row, column], top=max(ask.top, 2),
            temperature=None if ask.draw.rows is None else ask.draw.rows[row],
        )  # fmt: skip
        out = {}
        for name, value in values.items():
            out[name] = torch.zeros(*got.shape, *value.shape[1:], dtype=value.dtype)
            out[name][row, column] = value
        return Prediction(got=got, **out)


def tiny(
    kind: str,
    seed: int = 0,
    mask_bias: float = 0.0,
    sharp: float = 1.0,
    vocab: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Model:
    """Random weights for every kind but the encoder-decoder; `mask_bias` raises the mask's logit, `vocab` widens the vocabulary."""
    traits = KINDS[kind]
    if vocab:
        traits = replace(traits, vocab=vocab)
    config = BackboneConfig(
        vocab_size=vocab or ROWS, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8,
        qk_norm=True, head_bias=True,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    backbone = Backbone(config).eval()
    with torch.no_grad():
        for name, p in backbone.named_parameters():
            if p.dim() > 1:
                p.copy_(torch.randn(p.shape, generator=generator) * (sharp if "lm_head" in name else 0.5))
        backbone.lm_head.bias.zero_()
        if traits.mask is not None:
            backbone.lm_head.bias[traits.mask] = mask_bias
    return Model(backbone.to(dtype), traits, "redraft")


__all__ = [
    "EOS",
    "FULL",
    "INNER",
    "KINDS",
    "MASK",
    "PROMPTS",
    "ROWS",
    "SLOTS",
    "VOCAB",
    "Oracle",
    "fits",
    "native",
    "prompts_for",
    "put",
    "tiny",
]
