"""What this machine has, what it advises, and whether the model in the box runs on it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from importlib.util import find_spec
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import redraft
from redraft.cli.options import MODEL

CORE = ("torch", "transformers", "safetensors", "tokenizers", "huggingface_hub", "numpy", "typer", "rich", "pydantic")
EXTRAS = ("peft", "accelerate", "diffusers", "matplotlib")


def look() -> dict[str, Any]:
    """Versions, device, threads, advice on dtype, hub, model in the box, extras; `ok` is False if nothing can run."""
    import torch

    device, advice = _device(torch)
    box, ok = _model_in_the_box()
    return {
        "redraft": redraft.__version__,
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in CORE},
        "device": device,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "dtype": advice,
        "hub": _hub(),
        "model in the box": box,
        "extras": {name: metadata.version(name) if find_spec(name) else "not installed" for name in EXTRAS},
        "ok": ok,
    }


def _device(torch: Any) -> tuple[str, str]:
    if torch.cuda.is_available():
        count, name = torch.cuda.device_count(), torch.cuda.get_device_name(0)
        advice = "bfloat16" if torch.cuda.is_bf16_supported() else "float32: this GPU has no bfloat16"
        return f"{count} x {name}: use --device cuda", advice
    if torch.backends.mps.is_available():
        return "mps: use --device mps", "float32"
    kind = torch.backends.cpu.get_cpu_capability()
    return f"cpu ({kind})", "float32; bfloat16 halves the memory of weights and is seldom faster on a CPU"


def _hub(seconds: float = 3.0) -> str:
    """`off`, `reachable` or `unreachable`, found within `seconds`."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        return "off (HF_HUB_OFFLINE is set): only local folders and cached models load"
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urlopen(Request(address, method="HEAD"), timeout=seconds):
            return f"reachable ({address})"
    except HTTPError:
        return f"reachable ({address})"
    except (OSError, ValueError):
        return f"unreachable ({address}): only local folders and cached models load"


def _model_in_the_box() -> tuple[str, bool]:
    from redraft import api

    try:
        model = api.load(MODEL)
        result = api.generate(model, "1+1=", max_new_tokens=8)
    except redraft.RedraftError as error:
        return f"{MODEL} does not run: {error}", False
    return f"{MODEL} runs ({result.forwards} forwards)", True
