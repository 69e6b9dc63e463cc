"""Initializers for recurrent layers, whose parameters hold several gates side by side."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from dualml.spec.initializers.base import Float, InitializerBase
from dualml.spec.initializers.scaled import symmetric


class GateUniform(InitializerBase):
    """``U(-b, b)``, ``b = 1 / sqrt(units)``, for a kernel with ``gates units`` outputs.

    What ``torch.nn.LSTM``, ``GRU`` and ``RNN`` draw ``weight_ih_l0`` from (``torch/nn/modules/rnn.py``,
    ``reset_parameters``): the bound depends on the outputs of one gate, and not on the inputs.
    """

    kind = "gate_uniform"

    gates: int = Field(gt=0, kw_only=False)
    """Number of gates: 4 for lstm, 3 for gru, 1 for simple_rnn."""

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        return symmetric(seed, path, shape, 1.0 / math.sqrt(shape[-1] / self.gates))

    def problem(self, shape: tuple[int, ...]) -> str | None:
        if shape[-1] % self.gates:
            return f"gate_uniform's gates must divide the {shape[-1]} outputs, but gates is {self.gates}"
        return None


class UnitForgetBias(InitializerBase):
    """1 for the forget gate of an LSTM, 0 for the others (Jozefowicz et al., ICML 2015, section 2.2).

    ``keras.layers.LSTM(unit_forget_bias=True)``: the second quarter of ``(4 units,)``.
    """

    kind = "unit_forget_bias"

    def draw(self, seed: int, path: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Float:
        bias = np.zeros(shape)
        units = shape[-1] // 4
        bias[..., units : 2 * units] = 1.0
        return bias

    def problem(self, shape: tuple[int, ...]) -> str | None:
        return "unit_forget_bias needs the bias of an lstm" if len(shape) != 1 or shape[0] % 4 else None
