"""A network some of whose input vectors are given instead of looked up."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class Given:
    """The backbone's interface over another network; `at` (N,) bool packed tokens enter as `vectors` (M, D)."""

    def __init__(self, model: Any, at: Tensor, vectors: Tensor) -> None:
        self.model, self.at, self.vectors = model, at, vectors

    def embed(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.model.embed(tokens)
        return x.masked_scatter(self.at[:, None], self.vectors.to(x.dtype))

    def __call__(self, x: Tensor, *args: Any, **more: Any) -> Tensor:
        hidden: Tensor = self.model(x, *args, **more)
        return hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)
