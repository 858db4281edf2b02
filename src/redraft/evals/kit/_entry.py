"""A case's ids and masks: in meta.json or beside it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def entry(case: Any, name: str) -> Tensor:
    """From meta.json or, where it is not there, from the tensors."""
    found = case.meta.get(name)
    return torch.tensor(found) if found is not None else case.tensors()[name]
