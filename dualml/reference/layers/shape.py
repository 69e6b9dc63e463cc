"""Operations that only move values."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import override

from dualml.reference.layers.base import Call, InputsAndParameters, Operation
from dualml.reference.rounding import Float


class Reshape(Operation):
    """Flatten and reshape: the same values in row-major order; exact."""

    @override
    def forward(self, call: Call) -> Float:
        return call.inputs[0].reshape(len(call.inputs[0]), *call.node.shape)

    @override
    def backward(self, call: Call, gradient: Float) -> InputsAndParameters:
        return [gradient.reshape(call.inputs[0].shape)], {}


OPERATIONS: Mapping[str, Operation] = {"flatten": Reshape(), "reshape": Reshape()}
"""By ``Node.operation``."""
