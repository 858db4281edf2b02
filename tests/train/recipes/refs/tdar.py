"""TDAR (arXiv:2602.09555): SDAR's loss; blocks grow."""

from .sdar import loss  # noqa: F401
