"""Training objectives: frozen rows of parts. One class per idea."""

from .layouts import Canvas, Full, TwoStream, View
from .masking import Anywhere, LowDiscrepancy, Window
from .objective import Noised, Objective

__all__ = ["Anywhere", "Canvas", "Full", "LowDiscrepancy", "Noised", "Objective", "TwoStream", "View", "Window"]
