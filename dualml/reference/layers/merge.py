"""Operations of several inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from typing_extensions import override

from dualml.reference import ops
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


def subtract(call: Call, a: Traced, b: Traced) -> Traced:  # noqa: ARG001 (one signature for all)
    """``a - b``."""
    return a - b


def average(call: Call, *inputs: Traced) -> Traced:  # noqa: ARG001
    """``(a + b + ...) / n``."""
    total = inputs[0]
    for other in inputs[1:]:
        total = total + other
    return total / len(inputs)


def multiply(call: Call, *inputs: Traced) -> Traced:
    """``a b ...``, with axes of size 1 put before those of inputs that have fewer."""
    rank = len(call.node.shape)

    def whole(x: Traced) -> Traced:
        return ops.reshape(x, (len(x), *((1,) * (rank + 1 - x.ndim)), *x.shape[1:]))

    product = whole(inputs[0])
    for other in inputs[1:]:
        product = product * whole(other)
    return product


def maximum(call: Call, *inputs: Traced) -> Traced:
    """``max(max(a, b), c)``, value by value."""
    largest = inputs[0]
    for other in inputs[1:]:
        largest = ops.maximum(largest, other, ties=call.node.settings.ties)
    return largest


def minimum(call: Call, *inputs: Traced) -> Traced:
    """``min(min(a, b), c)``, value by value."""
    smallest = inputs[0]
    for other in inputs[1:]:
        smallest = ops.minimum(smallest, other, ties=call.node.settings.ties)
    return smallest


OPERATIONS: Mapping[str, Operation] = {
    "add": Add(),
    "concat": Concat(),
    "subtract": Formula(subtract),
    "average": Formula(average),
    "multiply": Formula(multiply),
    "maximum": Formula(maximum),
    "minimum": Formula(minimum),
}
"""By ``Node.operation``."""
