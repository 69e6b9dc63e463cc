"""Recurrent layers."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.initializers import FanInUniform, GateUniform, GlorotUniform, Orthogonal, UnitForgetBias, Zeros
from dualml.spec.layers import Gru, Lstm, SimpleRnn

_TORCH = {
    "masked_output": "zeros",
    "bias": "double",
    "recurrent_initializer": FanInUniform(),  # all of them within 1 / sqrt(units), which feed one output
    "bias_initializer": FanInUniform(),
    "recurrent_bias_initializer": FanInUniform(),
}

_KERAS = {
    "masked_output": "previous",
    "bias": "single",
    "kernel_initializer": GlorotUniform(),
    "recurrent_initializer": Orthogonal(),
    "bias_initializer": Zeros(),
    "recurrent_bias_initializer": Zeros(),
}

TORCH: Preset = {
    SimpleRnn: {**_TORCH, "kernel_initializer": GateUniform(gates=1)},
    Lstm: {**_TORCH, "kernel_initializer": GateUniform(gates=4)},
    Gru: {**_TORCH, "kernel_initializer": GateUniform(gates=3), "reset_after": True},
}


KERAS: Preset = {
    SimpleRnn: _KERAS,
    Lstm: {**_KERAS, "bias_initializer": UnitForgetBias()},
    Gru: {**_KERAS, "reset_after": True, "bias": "stacked"},
}
