"""LLaDA's loss without 1/t (arXiv:2502.09992): mean cross entropy of a document's masked tokens, then over documents."""

from .redraft_tiny import loss  # noqa: F401  the same loss on another noise
