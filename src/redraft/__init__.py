"""redraft: decode, train and measure diffusion language models; one loop moves every method.

    import redraft
    model = redraft.load("redraft-tiny")
    result = redraft.generate(model, "12+34=", max_new_tokens=16)
    result.text, result.forwards, result.tokens_per_forward

The names below load on first use, so that `import redraft` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from redraft.api import Model as Model
    from redraft.api import Report as Report
    from redraft.api import Result as Result
    from redraft.api import conform as conform
    from redraft.api import evaluate as evaluate
    from redraft.api import generate as generate
    from redraft.api import load as load
    from redraft.api import methods_table as methods_table
    from redraft.api import models_table as models_table
    from redraft.api import perplexity as perplexity
    from redraft.api import wrap as wrap
    from redraft.core.errors import BadInput as BadInput
    from redraft.core.errors import CheckpointError as CheckpointError
    from redraft.core.errors import RedraftError as RedraftError
    from redraft.core.errors import Stopped as Stopped
    from redraft.core.errors import UnknownName as UnknownName
    from redraft.core.errors import Unreachable as Unreachable
    from redraft.core.errors import Unsupported as Unsupported
    from redraft.core.traits import Traits as Traits
    from redraft.core.trajectory import Trajectory as Trajectory

_HOME = {
    "BadInput": "redraft.core.errors",
    "CheckpointError": "redraft.core.errors",
    "Model": "redraft.api",
    "RedraftError": "redraft.core.errors",
    "Report": "redraft.api",
    "Result": "redraft.api",
    "Stopped": "redraft.core.errors",
    "Traits": "redraft.core.traits",
    "Trajectory": "redraft.core.trajectory",
    "UnknownName": "redraft.core.errors",
    "Unreachable": "redraft.core.errors",
    "Unsupported": "redraft.core.errors",
    "conform": "redraft.api",
    "evaluate": "redraft.api",
    "generate": "redraft.api",
    "load": "redraft.api",
    "methods_table": "redraft.api",
    "models_table": "redraft.api",
    "perplexity": "redraft.api",
    "wrap": "redraft.api",
}

__all__ = [
    "BadInput",
    "CheckpointError",
    "Model",
    "RedraftError",
    "Report",
    "Result",
    "Stopped",
    "Traits",
    "Trajectory",
    "UnknownName",
    "Unreachable",
    "Unsupported",
    "__version__",
    "conform",
    "evaluate",
    "generate",
    "load",
    "methods_table",
    "models_table",
    "perplexity",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'redraft' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
