"""Layers that normalise."""

from __future__ import annotations

from collections.abc import Mapping

from dualml.conventions.base import Preset
from dualml.spec.layers import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RmsNorm, UnitNorm

TORCH: Preset = {
    BatchNorm: {"epsilon": 1e-5, "momentum": 0.9, "variance": "unbiased"},  # torch's momentum 0.1 weighs the new value
    LayerNorm: {"epsilon": 1e-5},
    GroupNorm: {"epsilon": 1e-5},
    InstanceNorm: {"epsilon": 1e-5, "scale": False, "offset": False},
    RmsNorm: {"epsilon": 2.0**-23},  # torch.finfo(torch.float32).eps
    UnitNorm: {"epsilon": 1e-12},
}


KERAS: Preset = {
    BatchNorm: {"epsilon": 1e-3, "momentum": 0.99, "variance": "biased"},
    LayerNorm: {"epsilon": 1e-3},
    GroupNorm: {"epsilon": 1e-3},
    InstanceNorm: {"epsilon": 1e-3, "scale": True, "offset": True},
    RmsNorm: {"epsilon": 1e-6},
    UnitNorm: {"epsilon": 1e-12},
}


FLOAT64: Mapping[str, Preset] = {
    "torch": {RmsNorm: {"epsilon": 2.0**-52}},  # torch.finfo(torch.float64).eps
    "keras": {},
}
"""Rows that a spec in float64 has instead."""
