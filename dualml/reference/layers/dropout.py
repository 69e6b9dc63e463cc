"""Operations that drop values at random in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from typing_extensions import override

from dualml.reference.layers.base import Call, InputsAndParameters, Operation
from dualml.reference.rounding import Float, underflow_unit


class Dropout(Operation):
    """``y = x m / (1 - rate)`` in training, else ``y = x``.

    The bound admits ``rate`` rounded to the working precision, which moves ``1 - rate`` by ``u rate``.
    """

    @override
    def forward(self, call: Call) -> Float:
        return call.inputs[0] * self._scale(call)

    @override
    def backward(self, call: Call, gradient: Float) -> InputsAndParameters:
        return [gradient * self._scale(call)], {}

    @override
    def forward_bound(self, call: Call, unit: float) -> Float:
        return self._bound(call, call.inputs[0], unit)

    @override
    def backward_bound(self, call: Call, gradient: Float, unit: float) -> InputsAndParameters:
        return [self._bound(call, gradient, unit)], {}

    @staticmethod
    def _scale(call: Call) -> Float:
        if not call.training:
            return np.ones_like(call.inputs[0])
        if call.mask is None:
            raise ValueError(f"node {call.node.name!r}: dropout in training needs a mask, got none; pass mask=")
        wanted = (len(call.inputs[0]), *(call.node.random_mask or ()))
        if call.mask.shape != wanted:
            raise ValueError(f"node {call.node.name!r}: the mask must have shape {wanted}, got {call.mask.shape}")
        return np.asarray(call.mask / (1.0 - call.node.settings.rate))

    def _bound(self, call: Call, values: Float, unit: float) -> Float:
        scale = self._scale(call)
        rate = call.node.settings.rate if call.training else 0.0
        roundings = 4.0 + 2.0 * rate / (1.0 - rate) if call.training else 0.0
        return np.asarray(unit * roundings * np.abs(values) * scale + 2.0 * underflow_unit(unit) * (1.0 + scale))


OPERATIONS: Mapping[str, Operation] = {"dropout": Dropout()}
"""By ``Node.operation``."""
