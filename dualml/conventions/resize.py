"""Resizing."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.layers.resize import Resize

TORCH: Preset = {Resize: {"rounding": "floor", "step": "scale"}}


KERAS: Preset = {Resize: {"rounding": "half_pixel", "step": "sizes"}}
