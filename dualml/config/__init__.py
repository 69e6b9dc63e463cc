"""Config files: YAML with places, overrides, and every problem reported at once."""

from dualml.config.loader import load, parse

__all__ = ["load", "parse"]
