"""Pooling layers."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.layers.pooling import AveragePool1d, AveragePool2d, AveragePool3d, GlobalMaxPool

_AVERAGE = (AveragePool1d, AveragePool2d, AveragePool3d)

TORCH: Preset = {
    **{kind: {"count_padding": True} for kind in _AVERAGE},
    GlobalMaxPool: {"ties": "first"},
}


KERAS: Preset = {
    **{kind: {"count_padding": False} for kind in _AVERAGE},
    GlobalMaxPool: {"ties": "even"},
}
