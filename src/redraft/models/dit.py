"""The diffusion transformer of MDLM and its descendants: a text DiT that may be told the noise level.

Adaptive layer norms (arXiv:2212.09748) read the noise level sigma; rotary positions; layer norms without bias. It has
the backbone's interface (`Backbone`), so executors and objectives take it as they take any model. Used by MDLM
(arXiv:2406.07524), BD3-LM (arXiv:2503.09573), UDLM, Duo and their kin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.rotary import inverse_frequencies, rotate, rotation
from .backbone import Attend

WAVES = 256  # channels of the sinusoidal code of sigma
ROPE_THETA = 10000.0


@dataclass(frozen=True)
class DiTConfig:
    """Shapes and switches of one DiT; sizes in channels, counts in units.

    cond_size    width of the noise level's code
    dropout      on what a layer adds, in training only
    adaptive     False: ordinary layers that cannot be told the noise level
    conditioned  the noise level is used; else callers leave it at zero, as the published checkpoints do
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    cond_size: int = 128
    dropout: float = 0.0
    adaptive: bool = True
    conditioned: bool = False
    tie_embeddings: ClassVar[bool] = False
    moe: ClassVar[None] = None

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def num_kv_heads(self) -> int:
        return self.num_heads


class Norm(nn.Module):
    """Layer norm in float32, with a factor and no bias."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), x.shape[-1:]).to(x.dtype) * self.weight


class NoiseLevel(nn.Module):
    """sigma (M,) float -> its code (M, cond_size)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner = nn.Linear(WAVES, size)
        self.outer = nn.Linear(size, size)

    def forward(self, sigma: Tensor) -> Tensor:
        half = WAVES // 2
        freq = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=sigma.device) / half)
        angle = sigma[:, None].float() * freq
        waves = torch.cat((angle.cos(), angle.sin()), -1).to(self.inner.weight.dtype)
        return F.silu(self.outer(F.silu(self.inner(waves))))


class Levels:
    """The code of each packed token's noise level, kept once per level: modules see few rows, tokens get theirs.

    codes (M, cond_size); index (N,) names each token's row, None where all have the same.
    """

    def __init__(self, codes: Tensor, index: Tensor | None) -> None:
        self.codes, self.index = codes, index

    def through(self, module: nn.Linear, num_parts: int) -> tuple[Tensor, ...]:
        """The module's output for each token, in parts: each (N | 1, D)."""
        out = module(self.codes)
        return tuple((out if self.index is None else out[self.index]).chunk(num_parts, -1))


class DiTLayer(nn.Module):
    def __init__(self, c: DiTConfig, layer: int) -> None:
        super().__init__()
        size = c.hidden_size
        self.c, self.layer = c, layer
        self.attn_norm, self.mlp_norm = Norm(size), Norm(size)
        self.qkv = nn.Linear(size, 3 * size, bias=False)
        self.out = nn.Linear(size, size, bias=False)
        self.up = nn.Linear(size, 4 * size)
        self.down = nn.Linear(4 * size, size)
        self.modulation = nn.Linear(c.cond_size, 6 * size) if c.adaptive else None

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, levels: Levels | None) -> Tensor:
        a, m = self.attn_norm, self.mlp_norm
        if self.modulation is None or levels is None:
            x = x + self.drop(self.attention(a(x), cos, sin, attend))
            return x + self.drop(self.mlp(m(x)))
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = levels.through(self.modulation, 6)
        x = x + gate_a * self.drop(self.attention(a(x) * (1 + scale_a) + shift_a, cos, sin, attend))
        return x + gate_m * self.drop(self.mlp(m(x) * (1 + scale_m) + shift_m))

    def attention(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.c.num_heads, self.c.head_dim)).unbind(-3)
        mixed: Tensor = self.out(attend(self.layer, rotate(q, cos, sin), rotate(k, cos, sin), v).flatten(-2))
        return mixed

    def mlp(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.gelu(self.up(x), approximate="tanh"))
        return out

    def drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.c.dropout, self.training)


class DiT(nn.Module):
    """The backbone's interface over packed tokens, with a noise level per token.

    As published, modulations and head start at zero, so an untrained model's predictions are uniform.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.carried: dict[str, Tensor] = {}  # tensors of the checkpoint that are no weights, written back unchanged
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.level = NoiseLevel(config.cond_size) if config.adaptive else None
        self.layers = nn.ModuleList(DiTLayer(config, i) for i in range(config.num_layers))
        self.norm = Norm(config.hidden_size)
        self.modulation = nn.Linear(config.cond_size, 2 * config.hidden_size) if config.adaptive else None
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        nn.init.kaiming_uniform_(self.embedding.weight, a=math.sqrt(5))
        for one in (self.lm_head, self.modulation, *(layer.modulation for layer in self.layers)):
            if isinstance(one, nn.Linear):
                nn.init.zeros_(one.weight)
                nn.init.zeros_(one.bias)

    @property
    def conditioned(self) -> bool:
        """True where the noise level matters: callers then pass `sigma` to forward."""
        return self.config.conditioned and self.config.adaptive

    def embed(self, tokens: Tensor) -> Tensor:
        """(N,) int -> (N, D)."""
        x: Tensor = self.embedding(tokens)
        return x

    def soften(self, probs: Tensor) -> Tensor:
        """Probabilities (N, V) -> expected embeddings (N, D)."""
        return probs @ self.embedding.weight

    def forward(self, x: Tensor, pos: Tensor, attend: Attend, sigma: Tensor | None = None) -> Tensor:
        """Embedded tokens (N, D) at integer positions (N,) -> hidden states (N, D), ready for the head.

        sigma (N,) float: the noise level -log alpha of each token, None for zero everywhere. A level that is given is
        used even where `conditioned` is False.
        """
        c = self.config
        freq, _ = inverse_frequencies(c.head_dim, ROPE_THETA)
        cos, sin = rotation(pos, freq.to(x.device))
        levels = None
        if self.level is not None:
            if sigma is None:
                levels = Levels(self.level(torch.zeros(1, device=x.device)), None)
            else:
                values, index = sigma.unique(return_inverse=True)
                levels = Levels(self.level(values), index)
        for layer in self.layers:
            x = layer(x, cos, sin, attend, levels)
        x = self.norm(x)
        if self.modulation is None or levels is None:
            return x
        shift, scale = levels.through(self.modulation, 2)
        return x * (1 + scale) + shift

    @property
    def head_weight(self) -> Tensor:
        """(V, D)."""
        return self.lm_head.weight

    @property
    def head_bias(self) -> Tensor:
        """(V,)."""
        return self.lm_head.bias

    def head(self, hidden: Tensor) -> Tensor:
        """(M, D) -> logits (M, V)."""
        return F.linear(hidden, self.head_weight, self.head_bias)
