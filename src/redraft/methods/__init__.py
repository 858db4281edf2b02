"""Methods, one file each: values only. The file's name is the method's name."""

from .text import make, names, override, parse, presets, show

__all__ = ["make", "names", "override", "parse", "presets", "show"]
