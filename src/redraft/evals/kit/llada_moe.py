"""LLaDA-MoE runs with LLaDA's generate.py."""

from .llada import FUNCTIONS, generate, logits

__all__ = ["FUNCTIONS", "generate", "logits"]
