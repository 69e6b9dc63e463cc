"""Operations of several inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from typing_extensions import override

from dualml.reference.layers.base import Call, InputsAndParameters, Operation, sum_bound
from dualml.reference.layers.formula import Formula
from dualml.reference.rounding import Float
from dualml.reference.trace import Traced


class Add(Operation):
    """Sum of the inputs; the gradient goes to each of them unchanged."""

    @override
    def forward(self, call: Call) -> Float:
        total = call.inputs[0].copy()
        for term in call.inputs[1:]:
            total += term
        return total

    @override
    def backward(self, call: Call, gradient: Float) -> InputsAndParameters:
        return [gradient.copy() for _ in call.inputs], {}

    @override
    def forward_bound(self, call: Call, unit: float) -> Float:
        return sum_bound(call.inputs, unit)


def multiply(call: Call, first: Traced, *others: Traced) -> Traced:  # noqa: ARG001
    """Product of the inputs."""
    product = first
    for factor in others:
        product = product * factor
    return product


class Concat(Operation):
    """The inputs joined along one axis; exact."""

    @override
    def forward(self, call: Call) -> Float:
        return np.concatenate(call.inputs, axis=self._axis(call))

    @override
    def backward(self, call: Call, gradient: Float) -> InputsAndParameters:
        axis = self._axis(call)
        ends = np.cumsum([array.shape[axis] for array in call.inputs])
        return np.split(gradient, ends[:-1], axis=axis), {}

    @staticmethod
    def _axis(call: Call) -> int:
        axis: int = call.node.settings.axis
        return axis % len(call.node.shape) + 1  # settings do not count the batch


OPERATIONS: Mapping[str, Operation] = {"add": Add(), "multiply": Formula(multiply), "concat": Concat()}
"""By ``Node.operation``."""
