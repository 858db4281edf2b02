"""The example of docs/add-a-model-family.md works as written: it gives Mistral transformers' logits."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from redraft.models import known_families, load
from tests.models.run import logits

PAGE = Path(__file__).parents[2] / "docs" / "add-a-model-family.md"


def test_the_example_is_a_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert code is not None
    (tmp_path / "mistral.py").write_text(code[1])
    spec = importlib.util.spec_from_file_location("redraft.models.families.mistral", tmp_path / "mistral.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    torch.manual_seed(0)
    config = transformers.MistralConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=None, initializer_range=0.2,
    )  # fmt: skip
    model = transformers.MistralForCausalLM(config).eval()
    model.save_pretrained(tmp_path / "model")
    assert load(tmp_path / "model").family == "causal_lm"
    monkeypatch.setitem(known_families(), "mistral", module.FAMILY)  # what the file's place in the folder does

    ids = torch.randint(0, 50, (1, 16))
    with torch.inference_mode():
        want = model(ids).logits
    ours = load(tmp_path / "model")
    seen = torch.ones(16, 16, dtype=torch.bool).tril()[None]
    assert ours.family == "mistral" and (logits(ours.backbone, ids, seen) - want).abs().max() <= 1e-4
