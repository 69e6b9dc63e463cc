"""Layers that merge several inputs."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.layers.merge import Maximum, Minimum

TORCH: Preset = {Maximum: {"ties": "even"}, Minimum: {"ties": "even"}}


KERAS: Preset = {Maximum: {"ties": "first"}, Minimum: {"ties": "first"}}
