"""Activations."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.activations import Celu, Elu, Gelu, LeakyRelu, Softplus

TORCH: Preset = {
    Gelu: {"approximate": "none"},
    LeakyRelu: {"negative_slope": 0.01},
    Elu: {"alpha": 1.0},
    Celu: {"alpha": 1.0},
    Softplus: {"beta": 1.0, "threshold": 20.0},
}


KERAS: Preset = {
    Gelu: {"approximate": "none"},
    LeakyRelu: {"negative_slope": 0.2},  # the activation's default; keras.layers.LeakyReLU has 0.3
    Elu: {"alpha": 1.0},
    Celu: {"alpha": 1.0},
    Softplus: {"beta": 1.0, "threshold": "none"},
}
