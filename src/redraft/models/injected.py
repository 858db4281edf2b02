"""Any causal LM of transformers as a backbone: its own modules run, and `attend` is injected where they attend.

transformers lets every model fetch its attention by name; one function is registered there, and it hands queries and
keys (rotated, where the model rotates) to the `attend` of the call. No modelling file is copied.

What the function cannot hand on is refused or declared:
    scale            of a model's own is put into the queries
    logit cap        inside attention: refused, since no attend computes it; a cap on the head's logits is applied
    sliding windows  ignored: who sees whom is the caller's to say. Below the window nothing changes, so the families
                     give a causal checkpoint the window as its `context`
    dropout          on attention probabilities: left out; a model's other dropouts work in training mode
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import CheckpointError
from ..core.traits import Traits
from .backbone import Attend, dense
from .config import Raw, read_traits, size
from .files import Shards
from .model import SHARD, check_float16

NAME = "redraft_attend"


@dataclass(frozen=True)
class InjectedConfig:
    """Shapes of an injected model; sizes in channels, counts in units."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    tie_embeddings: bool


def handed(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    attend: Attend | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function: query (1, H, N, D), key and value (1, G, N, D) -> (1, N, H, D)."""
    own: Any = module
    odd = [name for name in ("softcap", "s_aux", "sinks") if given.get(name) is not None]
    if odd:
        raise CheckpointError(
            f"{type(module).__name__} asks its attention for {odd[0]!r}, which redraft's does not compute; "
            "take a model without it."
        )
    if attend is None:  # the model's own forward, outside redraft
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        usual: Any = ALL_ATTENTION_FUNCTIONS["sdpa"]
        out: tuple[Tensor, None] = usual(module, query, key, value, attention_mask, scaling=scaling, **given)
        return out
    natural = query.shape[-1] ** -0.5
    if scaling is not None and scaling != natural:
        query = query * (scaling / natural)
    packed = (one[0].transpose(0, 1) for one in (query, key, value))
    return attend(int(own.layer_idx), *packed)[None], None


def register() -> None:
    """Make the function known to transformers; again is harmless."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, handed)
    AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars and loading reports; what goes wrong is raised."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


class Injected(nn.Module):
    """The backbone's interface over a transformers causal LM (`model`, an ...ForCausalLM or ...LMHeadModel).

    The model keeps working by itself, with SDPA attention. Raises CheckpointError for one that cannot be injected.

    cap, scale  what the head does to its logits: scale * logits, then cap * tanh(logits / cap) where there is a cap
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        register()
        inner: Any = model
        refuse(inner.config.to_dict())
        inner.set_attn_implementation(NAME)
        if inner.config._attn_implementation != NAME:
            raise CheckpointError(
                f"{type(model).__name__} does not fetch its attention by name, so nothing can be injected; "
                "take a model that transformers gives an attention interface."
            )
        self.model: Any = model
        self.config = shapes(inner)
        cap = getattr(inner.config, "final_logit_softcapping", None)
        self.cap: float | None = None if cap is None else float(cap)
        self.scale: float = getattr(inner.config, "logit_scale", 1.0) / getattr(inner.config, "logits_scaling", 1.0)

    def _apply(self, fn: Any, recurse: bool = True) -> Injected:
        # a cast must not round the rotary frequencies, which transformers keeps in float32 whatever the weights are
        wide = {name: one for name, one in self.named_buffers() if name.endswith("inv_freq")}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, one in wide.items():
            place, _, leaf = name.rpartition(".")
            holder = self.get_submodule(place)
            setattr(holder, leaf, one.to(getattr(holder, leaf).device))
        return self

    def embed(self, tokens: Tensor) -> Tensor:
        """(N,) int -> (N, D), scaled where the model scales."""
        x: Tensor = self.model.get_input_embeddings()(tokens)
        return x

    def soften(self, probs: Tensor) -> Tensor:
        """Probabilities (N, V) -> expected embeddings (N, D), scaled where the model scales."""
        table = self.model.get_input_embeddings()
        x: Tensor = probs @ table.weight
        scale = getattr(table, "embed_scale", None)
        return x if scale is None else x * torch.as_tensor(scale, device=x.device).to(x.dtype)

    def forward(self, x: Tensor, pos: Tensor, attend: Attend) -> Tensor:
        """Embedded tokens (N, D) at integer positions (N,) -> hidden states (N, D) after the last norm."""
        # a mask of four axes is taken as ready made, so that none is built
        ready = x.new_zeros(1, 1, 1, 0)
        out = self.model.base_model(
            inputs_embeds=x[None], position_ids=pos[None], attention_mask=ready, use_cache=False, attend=attend
        )
        hidden: Tensor = out.last_hidden_state[0]
        return hidden

    @property
    def head_weight(self) -> Tensor:
        """(V, D)."""
        weight: Tensor = self.model.get_output_embeddings().weight
        return weight

    @property
    def head_bias(self) -> Tensor | None:
        """(V,), or None."""
        bias: Tensor | None = self.model.get_output_embeddings().bias
        return bias

    def head(self, hidden: Tensor) -> Tensor:
        """(M, D) -> logits (M, V), scaled and capped where the model does it."""
        logits = F.linear(hidden, self.head_weight, self.head_bias)
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


def refuse(raw: Mapping[str, Any]) -> None:
    """Raises CheckpointError for a config whose mathematics cannot be injected."""
    if raw.get("attn_logit_softcapping") is not None:
        raise CheckpointError(
            f"config.json has 'attn_logit_softcapping' = {raw['attn_logit_softcapping']!r}, and redraft's attention does "
            "not cap its logits; set it to null to run without the cap (logits change slightly; training makes up "
            "for it)."
        )
    if raw.get("use_bidirectional_attention"):
        raise CheckpointError(
            "config.json has 'use_bidirectional_attention', so this is an encoder and not a causal LM; "
            "take a causal checkpoint."
        )
    if raw.get("add_cross_attention") or raw.get("is_encoder_decoder"):
        raise CheckpointError(
            "config.json asks for cross attention, and redraft injects decoder-only models; take one of these."
        )


def shapes(model: Any) -> InjectedConfig:
    """What executors need, from the attention modules themselves."""
    c = model.config
    found = [(int(one.layer_idx), _head_dim(one)) for one in model.base_model.modules() if hasattr(one, "layer_idx")]
    found = sorted((layer, dim) for layer, dim in found if dim)
    if len({dim for _, dim in found}) != 1 or [layer for layer, _ in found] != list(range(c.num_hidden_layers)):
        raise CheckpointError(
            f"{type(model).__name__} should have one attention of one head size in each of its {c.num_hidden_layers} "
            f"layers, found (layer, head size) {found}; this model cannot be injected."
        )
    weight = model.get_input_embeddings().weight
    return InjectedConfig(
        vocab_size=int(weight.shape[0]),
        hidden_size=int(c.hidden_size),
        num_layers=int(c.num_hidden_layers),
        num_heads=int(c.num_attention_heads),
        num_kv_heads=int(getattr(c, "num_key_value_heads", None) or c.num_attention_heads),
        head_dim=found[0][1],
        tie_embeddings=model.get_output_embeddings().weight is weight,
    )


def _head_dim(module: Any) -> int:
    return int(getattr(module, "head_dim", 0) or getattr(module, "head_size", 0))


def causal_traits(raw: Raw, generation: Raw, eos: tuple[int, ...] = ()) -> Traits:
    """A family's `traits`. A sliding window in use bounds the context: up to it nothing is hidden by a window."""
    refuse(raw)
    context = "n_positions" if raw.get("n_positions") else "max_position_embeddings"
    found = read_traits(raw, generation, attention="causal", shift=True, block=1, eos=eos, context=context)
    kinds = raw.get("layer_types")
    off = raw.get("use_sliding_window") is False or (kinds and "sliding_attention" not in kinds)
    if off or not raw.get("sliding_window"):
        return found
    window = size(raw, "sliding_window")
    return replace(found, context=min(window, found.context or window))


@torch.no_grad()
def prove(net: Injected) -> Injected:
    """Two short documents, packed, must get the logits of the model's own forward; CheckpointError where they do not."""
    tokens = torch.arange(12, device=net.head_weight.device) % net.config.vocab_size
    parts = (tokens[:7], tokens[7:])
    training = net.training or net.model.training
    net.eval()
    own = [net.model(part[None], use_cache=False).logits[0] for part in parts]
    doc = torch.arange(12, device=tokens.device) >= 7
    mask = (doc[:, None] == doc) & torch.ones_like(doc[:, None] & doc).tril()
    pos = torch.cat([torch.arange(len(part), device=tokens.device) for part in parts])
    found = net.head(net(net.embed(tokens), pos, dense(mask[None], 1))).float()
    want = torch.cat(own).float()
    net.train(training)
    off = float((found - want).abs().mean() / want.abs().mean().clamp_min(1e-6))
    if not off <= (1e-3 if net.head_weight.dtype == torch.float32 else 5e-2):
        raise CheckpointError(
            f"{type(net.model).__name__} does something beside attention and a linear head that redraft does not know: "
            f"packed logits are off its own by a share of {off:.3g}; take another model."
        )
    return net


def load(folder: Path, raw: dict[str, Any], dtype: torch.dtype | None, device: torch.device) -> nn.Module:
    """A family's `load`: the class transformers has for this config, safetensors only, no code from the folder."""
    from transformers import AutoModelForCausalLM

    refuse(raw)
    register()
    Shards(folder)  # raises where a file is missing, truncated or a pickle, and says which
    try:
        with quiet():
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype or "auto",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                attn_implementation=NAME,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{folder} should hold the safetensors weights its config.json asks for, found: {reason}; "
            "download the folder again."
        ) from error
    wrong = sorted(str(one[0] if isinstance(one, tuple) else one) for one in report["mismatched_keys"])
    for what, names in (
        ("lacks", sorted(report["missing_keys"])),
        ("has in another shape", wrong),
        ("has no place for", sorted(report["unexpected_keys"])),
    ):
        if names:
            raise CheckpointError(
                f"{folder}: the model of config.json {what} {len(names)} tensors, such as {names[0]}; "
                "the folder mixes two models, download it again."
            )
    check_float16(model.dtype, device)
    return Injected(model.to(device).eval())


def wrap(model: nn.Module) -> nn.Module:
    """A family's `wrap`: the same modules and parameters."""
    return Injected(model)


def save(module: nn.Module, folder: Path) -> None:
    """A family's `save`: the weights under the names of transformers' checkpoints."""
    model: Any = module.model
    with quiet(), tempfile.TemporaryDirectory(dir=folder) as room:
        model.save_pretrained(room, max_shard_size=SHARD)
        for path in Path(room).glob("model*"):
            path.rename(folder / path.name)
