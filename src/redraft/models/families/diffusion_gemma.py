"""DiffusionGemma: uniform noise on a canvas of 256 tokens; text is encoded causally by the same weights.

The layers are those of the class that transformers ships; only attention is injected, so that one packed pass runs text
(encoder) and canvas (decoder) tokens together: at every layer a canvas token needs the text's keys and values of that
layer and no more. Source: transformers `diffusion_gemma` and its model card (google/diffusiongemma-26B-A4B-it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...core.errors import CheckpointError
from ...core.traits import Traits
from ..backbone import Attend
from ..config import Raw, only, read_traits, size
from ..family import Family


class DiffusionGemma(nn.Module):
    """The backbone's interface over a `DiffusionGemmaForBlockDiffusion`.

    `canvas` in its methods, (N,) bool or one bool for all, says which packed tokens are canvas and which are text.

    windows  per layer, how many text tokens a token sees: text counts itself, the canvas one fewer and counts from its
             first column; None sees all
    scale    factor on q · k
    block    tokens on a canvas
    """

    scale = 1.0
    head_bias = None

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        config: Any = model.config
        refuse(config.to_dict())
        self.model: Any = model
        text = config.text_config
        self.kinds: tuple[str, ...] = tuple(text.layer_types)
        self.windows: tuple[int | None, ...] = tuple(
            text.sliding_window if kind == "sliding_attention" else None for kind in self.kinds
        )
        self.block: int = config.canvas_length

    @property
    def decoder(self) -> Any:
        return self.model.model.decoder

    @property
    def encoder(self) -> Any:
        return self.model.model.encoder.language_model

    def embed(self, tokens: Tensor, canvas: Tensor | bool = False, soft: Tensor | None = None) -> Tensor:
        """(N,) int -> (N, D). soft (M, D): what the M canvas tokens are conditioned on, zeros where None."""
        decoder = self.decoder
        x: Tensor = decoder.embed_tokens(tokens)
        if canvas is False:
            return x
        own = x if canvas is True else x[canvas]
        own = decoder.self_conditioning(own, torch.zeros_like(own) if soft is None else soft)
        return own if canvas is True else x.masked_scatter(canvas[:, None], own)

    def forward(self, x: Tensor, pos: Tensor, attend: Attend, canvas: Tensor | bool = False) -> Tensor:
        """Embedded tokens (N, D) at positions (N,) -> hidden states (N, D) after the last norm."""
        from transformers.models.diffusion_gemma.modeling_diffusion_gemma import apply_rotary_pos_emb as turn

        decoder = self.decoder
        angles = {kind: [one[0] for one in decoder.rotary_emb(x, pos[None], kind)] for kind in set(self.kinds)}
        for i, (layer, twin) in enumerate(zip(decoder.layers, self.encoder.layers, strict=True)):
            a = layer.self_attn
            cos, sin = angles[self.kinds[i]]
            h = layer.input_layernorm(x)
            q = a.q_norm(a.q_proj(h).unflatten(-1, (-1, a.head_dim)))
            k = a.k_proj(h).unflatten(-1, (-1, a.head_dim))
            v = a.v_norm(k if a.v_proj is None else a.v_proj(h).unflatten(-1, (-1, a.head_dim)))
            mixed = attend(i, turn(q, cos, sin), turn(a.k_norm(k), cos, sin), v)
            x = x + layer.post_attention_layernorm(a.o_proj(mixed.flatten(-2)))
            dense = layer.post_feedforward_layernorm_1(layer.mlp(layer.pre_feedforward_layernorm(x)))
            _, weights, experts = layer.router(x)
            sparse = layer.experts(layer.pre_feedforward_layernorm_2(x), experts, weights)
            x = x + layer.post_feedforward_layernorm(dense + layer.post_feedforward_layernorm_2(sparse))
            # the layers' scalars are the one thing encoder and decoder do not share
            if isinstance(canvas, Tensor):
                x = x * torch.where(canvas[:, None], layer.layer_scalar, twin.layer_scalar)
            else:
                x = x * (layer if canvas else twin).layer_scalar
        hidden: Tensor = decoder.norm(x)
        return hidden

    @property
    def head_weight(self) -> Tensor:
        """(V, D)."""
        weight: Tensor = self.model.lm_head.weight
        return weight

    def head(self, hidden: Tensor) -> Tensor:
        """(M, D) -> float32 logits (M, V), capped."""
        cap = float(self.model.final_logit_softcapping)
        logits: Tensor = self.model.lm_head(hidden).float()
        return logits.div_(cap).tanh_() * cap

    def soften(self, probs: Tensor) -> Tensor:
        """Tempered probabilities (M, V) -> expected embeddings (M, D): what the next step is conditioned on."""
        table = self.decoder.embed_tokens
        mean: Tensor = probs.to(table.weight.dtype) @ table.weight * table.embed_scale.to(table.weight.dtype)
        return mean


@dataclass(frozen=True)
class Shape:
    """Sizes of a DiffusionGemma to be trained from scratch; the vision tower, never run, is as small as it can be.

    canvas  tokens on a canvas
    """

    family: ClassVar[str] = "diffusion_gemma"

    vocab_size: int
    hidden_size: int
    num_layers: int = 4
    num_heads: int = 4
    num_experts: int = 4
    num_experts_per_token: int = 2
    canvas: int = 64
    window: int = 512

    def build(self) -> nn.Module:
        """Fresh weights."""
        from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

        size = max(self.hidden_size // self.num_heads // 2 * 2, 2)
        kinds = [
            "full_attention" if i % 2 or i == self.num_layers - 1 else "sliding_attention"
            for i in range(self.num_layers)
        ]
        config = DiffusionGemmaConfig(
            text_config={
                "vocab_size": self.vocab_size, "hidden_size": self.hidden_size, "intermediate_size": 2 * self.hidden_size,
                "num_hidden_layers": self.num_layers, "num_attention_heads": self.num_heads, "num_key_value_heads": self.num_heads,
                "head_dim": size, "global_head_dim": size, "num_global_key_value_heads": self.num_heads,
                "sliding_window": self.window, "layer_types": kinds, "num_experts": self.num_experts,
                "top_k_experts": self.num_experts_per_token, "moe_intermediate_size": self.hidden_size,
                "use_bidirectional_attention": "vision",
            },
            vision_config={
                "model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16, "patch_size": 4,
                "position_embedding_size": 16,
            },
            canvas_length=self.canvas, image_token_id=0, boi_token_id=0, eoi_token_id=0,
        )  # fmt: skip
        return wrap(DiffusionGemmaForBlockDiffusion(config).float())

    def describe(self, module: nn.Module, traits: Traits) -> dict[str, Any]:
        """config.json of a network built here, which from now on names the model's end tokens."""
        config: Any = module.model.config  # type: ignore[union-attr]
        config.eos_token_id = list(traits.eos)
        found: dict[str, Any] = config.to_dict()
        return found


def refuse(raw: Raw) -> None:
    """Raises CheckpointError for a config whose mathematics is not computed here."""
    text = raw.get("text_config")
    if not isinstance(text, Mapping):
        raise CheckpointError("config.json must have a table 'text_config', found none; correct the file.")
    only(raw, "tie_word_embeddings", True)
    only(text, "use_bidirectional_attention", "vision")


def traits(raw: Raw, generation: Raw) -> Traits:
    refuse(raw)
    text = dict(raw["text_config"])
    # the published text_config names the base model's end token only, the outer table also the end of a turn
    ends = (generation.get("eos_token_id"), raw.get("eos_token_id"), text.get("eos_token_id"))
    text["eos_token_id"] = next((one for one in ends if one is not None), None)
    found = read_traits(
        text, generation, attention="encoder_decoder", shift=False, block=size(raw, "canvas_length", 256), mask_keys=()
    )
    return replace(found, noise="uniform")


def load(folder: Path, raw: dict[str, Any], dtype: torch.dtype | None, device: torch.device) -> nn.Module:
    from transformers import DiffusionGemmaForBlockDiffusion

    refuse(raw)
    try:
        model, report = DiffusionGemmaForBlockDiffusion.from_pretrained(
            folder, dtype=dtype or "auto", use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"expected the safetensors weights of a DiffusionGemma checkpoint, found: {reason}; fetch the folder again."
        ) from error
    missing = sorted(report["missing_keys"])
    wrong = sorted(str(one[0]) for one in report["mismatched_keys"])
    if missing or wrong:
        raise CheckpointError(
            f"expected every weight of DiffusionGemma in its shape, found {len(missing)} missing and {len(wrong)} of "
            f"another shape ({(missing + wrong)[0]}); fetch the folder again."
        )
    return wrap(model.to(device).eval())


def wrap(model: nn.Module) -> nn.Module:
    return DiffusionGemma(model)


def save(module: nn.Module, folder: Path) -> None:
    model: Any = module.model
    model.save_pretrained(folder)


FAMILY = Family(
    name="diffusion_gemma",
    source="google/diffusiongemma-26B-A4B-it",
    model_types=("diffusion_gemma",),
    architectures=("DiffusionGemmaForBlockDiffusion",),
    traits=traits,
    load=load,
    wrap=wrap,
    save=save,
)
