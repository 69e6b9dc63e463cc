"""Smaller models: int8, fewer neurons or lower rank, kept only if they are as good as is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualml.compress.api import METHODS, compress
    from dualml.compress.report import Report

__all__ = ["METHODS", "Report", "compress"]

_HOMES = {
    "METHODS": "dualml.compress.api",
    "Report": "dualml.compress.report",
    "compress": "dualml.compress.api",
}
"""Imported when used: most of it needs ONNX."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
