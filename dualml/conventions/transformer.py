"""Transformer blocks; Keras' column is that of its parts, as Keras itself has no such layers."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.layers import TransformerDecoder, TransformerEncoder

TORCH: Preset = {
    TransformerEncoder: {"rate": 0.1},
    TransformerDecoder: {"rate": 0.1},
}


KERAS: Preset = {
    TransformerEncoder: {"rate": 0.0},
    TransformerDecoder: {"rate": 0.0},
}
