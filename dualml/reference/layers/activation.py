"""Activations as operations of their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dualml.reference.activations import ACTIVATIONS
from dualml.reference.layers.base import Call, InputsAndParameters, Operation
from dualml.reference.rounding import Float


class Activation(Operation):
    """An activation function; formulas and bounds are in ``dualml.reference.activations``."""

    @override
    def forward(self, call: Call) -> Float:
        function = call.node.settings.function
        return ACTIVATIONS[function.kind].value(function, call.inputs[0])

    @override
    def backward(self, call: Call, gradient: Float) -> InputsAndParameters:
        function = call.node.settings.function
        return [ACTIVATIONS[function.kind].vector_jacobian(function, call.inputs[0], gradient)], {}

    @override
    def forward_bound(self, call: Call, unit: float) -> Float:
        function = call.node.settings.function
        return ACTIVATIONS[function.kind].value_bound(function, call.inputs[0], unit)

    @override
    def backward_bound(self, call: Call, gradient: Float, unit: float) -> InputsAndParameters:
        function = call.node.settings.function
        return [ACTIVATIONS[function.kind].vector_jacobian_bound(function, call.inputs[0], gradient, unit)], {}

    @override
    def kinks(self, call: Call) -> NDArray[np.bool_]:
        function = call.node.settings.function
        return ACTIVATIONS[function.kind].kinks(function, call.inputs[0])


OPERATIONS: Mapping[str, Operation] = {"activation": Activation()}
"""By ``Node.operation``."""
