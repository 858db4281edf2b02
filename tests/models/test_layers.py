"""The mixture of experts against a loop over tokens, and what `import redraft.models` may not drag in."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from redraft.models.backbone import MoE, MoEConfig, RMSNorm

CONFIGS = [
    MoEConfig(6, 2, 10),
    MoEConfig(6, 3, 10, normalise=True, scale=2.0),
    MoEConfig(8, 2, 10, shared_size=14, score="sigmoid", normalise=True, scale=2.5, bias=True),
    MoEConfig(8, 3, 10, score="sigmoid", normalise=True, num_groups=4, num_groups_per_token=2, bias=True),
    MoEConfig(8, 1, 10, score="sigmoid", num_groups=2, num_groups_per_token=1, bias=True),
    MoEConfig(1, 1, 10),
]


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_equal_to_a_loop_over_tokens(config: MoEConfig) -> None:
    torch.manual_seed(0)
    layer = MoE(12, config)
    for weight in layer.parameters():
        torch.nn.init.normal_(weight)
    x = torch.randn(17, 12)
    want = torch.zeros_like(x)
    with torch.no_grad():
        for t, token in enumerate(x):
            logits = layer.router.weight @ token
            scores = logits.softmax(0) if config.score == "softmax" else logits.sigmoid()
            choice = scores + (layer.router.bias if config.bias else 0)
            allowed = list(range(config.num_experts))
            if config.num_groups > 1:
                groups = choice.view(config.num_groups, -1)
                rank = [group.sort(descending=True).values[:2].sum().item() for group in groups]
                best = sorted(range(config.num_groups), key=lambda g: -rank[g])[: config.num_groups_per_token]
                allowed = [e for e in allowed if e // groups.shape[1] in best]
            chosen = sorted(allowed, key=lambda e: -choice[e].item())[: config.num_experts_per_token]
            total = sum(scores[e] for e in chosen) if config.normalise else 1.0
            for e in chosen:
                inner = F.silu(layer.gate[e] @ token) * (layer.up[e] @ token)
                want[t] += scores[e] / total * config.scale * (layer.down[e] @ inner)
            if layer.shared is not None:
                want[t] += layer.shared(token[None])[0]
        assert (layer(x) - want).abs().max() <= 1e-4 * want.abs().max()
        assert layer(x[:0]).shape == (0, 12)


def test_rms_norm_equals_torchs_and_keeps_the_type() -> None:
    norm, x = RMSNorm(16, 1e-3, bias=True), torch.randn(5, 16)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    want = F.rms_norm(x, (16,), norm.weight, 1e-3) + norm.bias
    torch.testing.assert_close(norm(x), want)
    assert norm.to(torch.bfloat16)(x.to(torch.bfloat16)).dtype == torch.bfloat16


def test_importing_models_leaves_heavy_packages_alone() -> None:
    heavy = ("transformers", "peft", "accelerate", "huggingface_hub", "jinja2.sandbox")
    code = f"import sys, redraft.models; print([one for one in {heavy!r} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
