"""The dense layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from typing_extensions import override

from dualml.reference.layers.base import Call, InputsAndParameters, Operation, product_bound
from dualml.reference.rounding import Float, gamma


class Dense(Operation):
    """``y = x K + b`` over the last axis.

    ``dx = dy K^T``, ``dK = x^T dy``, ``db = sum dy``, summed over examples and inner positions.
    """

    @override
    def forward(self, call: Call) -> Float:
        kernel, bias = self._weights(call)
        return np.asarray(call.inputs[0] @ kernel + bias)

    @override
    def backward(self, call: Call, gradient: Float) -> InputsAndParameters:
        kernel, _ = self._weights(call)
        rows, flat = self._flatten(call, gradient)
        parameters = {call.name("kernel"): rows.T @ flat}
        if call.weight("bias") is not None:
            parameters[call.name("bias")] = flat.sum(axis=0)
        return [gradient @ kernel.T], parameters

    @override
    def forward_bound(self, call: Call, unit: float) -> Float:
        kernel, bias = self._weights(call)
        rows, _ = self._flatten(call, None)
        bound = product_bound(rows, kernel, 2, unit) + gamma(len(kernel) + 2, unit) * np.abs(bias)
        return bound.reshape((*call.inputs[0].shape[:-1], kernel.shape[1]))

    @override
    def backward_bound(self, call: Call, gradient: Float, unit: float) -> InputsAndParameters:
        kernel, _ = self._weights(call)
        rows, flat = self._flatten(call, gradient)
        parameters = {call.name("kernel"): product_bound(rows.T, flat, 1, unit)}
        if call.weight("bias") is not None:
            parameters[call.name("bias")] = product_bound(np.ones((1, len(flat))), flat, 1, unit)[0]
        return [product_bound(flat, kernel.T, 1, unit).reshape(call.inputs[0].shape)], parameters

    @staticmethod
    def _weights(call: Call) -> tuple[Float, Float]:
        kernel, bias = call.weight("kernel"), call.weight("bias")
        assert kernel is not None
        return kernel, np.zeros(kernel.shape[1]) if bias is None else bias

    @staticmethod
    def _flatten(call: Call, gradient: Float | None) -> tuple[Float, Float]:
        """Inputs and output gradients with one row for each example and inner position."""
        rows = call.inputs[0].reshape(-1, call.inputs[0].shape[-1])
        return rows, rows if gradient is None else gradient.reshape(-1, gradient.shape[-1])


OPERATIONS: Mapping[str, Operation] = {"dense": Dense()}
"""By ``Node.operation``."""
