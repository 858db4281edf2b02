"""Methods, one file each: values only. The file's name is the method's name."""

from .text import make, module, names, override, parse, presets, show

__all__ = ["make", "module", "names", "override", "parse", "presets", "show"]
