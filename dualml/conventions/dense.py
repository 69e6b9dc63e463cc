"""The dense layer."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.initializers import FanInUniform, GlorotUniform, Zeros
from dualml.spec.layers import Dense

TORCH: Preset = {
    Dense: {"kernel_initializer": FanInUniform(), "bias_initializer": FanInUniform()},
}


KERAS: Preset = {
    Dense: {"kernel_initializer": GlorotUniform(), "bias_initializer": Zeros()},
}
