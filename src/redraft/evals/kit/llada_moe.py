"""LLaDA-MoE runs with LLaDA's generate.py."""

from .llada import generate, logits

__all__ = ["generate", "logits"]
