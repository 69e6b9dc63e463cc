"""Operations that drop values at random in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dualml.reference import ops
from dualml.reference.layers.base import Call, InputsAndParameters, Operation
from dualml.reference.layers.formula import Formula
from dualml.reference.rounding import Float, underflow_unit
from dualml.reference.trace import Traced


def mask_of(call: Call) -> NDArray[np.bool_]:
    """The call's mask.

    Raises:
        ValueError: There is none, or it has another shape.
    """
    if call.mask is None:
        raise ValueError(f"node {call.node.name!r}: dropout in training needs a mask, got none; pass mask=")
    wanted = (len(call.inputs[0]), *(call.node.random_mask or ()))
    if call.mask.shape != wanted:
        raise ValueError(f"node {call.node.name!r}: the mask must have shape {wanted}, got {call.mask.shape}")
    return call.mask


class Dropout(Operation):
    """``y = x m / (1 - rate)`` in training, else ``y = x``; the mask may have axes of size 1.

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
        return np.asarray(mask_of(call) / (1.0 - call.node.settings.rate))

    def _bound(self, call: Call, values: Float, unit: float) -> Float:
        scale = self._scale(call)
        rate = call.node.settings.rate if call.training else 0.0
        roundings = 4.0 + 2.0 * rate / (1.0 - rate) if call.training else 0.0
        return np.asarray(unit * roundings * np.abs(values) * scale + 2.0 * underflow_unit(unit) * (1.0 + scale))


def alpha_dropout(call: Call, x: Traced) -> Traced:
    """``y = a (x m + d (1 - m)) + b`` in training, else ``y = x``."""
    if not call.training:
        return x
    settings = call.node.settings
    y: Traced = ops.where(mask_of(call), x, settings.dropped) * settings.factor + settings.offset
    return y


OPERATIONS: Mapping[str, Operation] = {
    "dropout": Dropout(),
    "spatial_dropout": Dropout(),
    "stochastic_depth": Dropout(),
    "alpha_dropout": Formula(alpha_dropout),
}
"""By ``Node.operation``."""
