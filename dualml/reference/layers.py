"""The operations a node can be: forward formula, vector-Jacobian product and bounds on their rounding errors.

Everything is evaluated in float64, from arguments of any precision taken exactly. A bound says how far a correct
implementation in working precision may lie from the reference *given the same inputs*: nothing is propagated
through layers. Bounds hold for any order of summation, with or without fused multiply-add; they do not hold
for arithmetic that rounds inside a product (TF32, bfloat16) or for Winograd and FFT convolutions.
No bound is ever 0, so a ratio to it always exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dualml.protocol import Array, Arrays
from dualml.reference.activations import ACTIVATIONS
from dualml.reference.rounding import Float, double, gamma, underflow_unit
from dualml.spec.graph import Node

InputsAndParameters = tuple[list[Float], dict[str, Float]]
"""An array for each input, and one for each parameter by neutral name."""


@dataclass(frozen=True)
class Call:
    """One evaluation of a node.

    Attributes:
        node: What is evaluated.
        weights: Parameters by neutral name; may hold those of other nodes.
        inputs: One array for each of ``node.inputs``, shape ``(examples, *input_shape)``.
        training: Whether random layers are active.
        mask: Which values a dropout node keeps, shape ``(examples, *node.shape)``.
    """

    node: Node
    weights: Arrays
    inputs: tuple[Float, ...]
    training: bool
    mask: NDArray[np.bool_] | None

    def weight(self, role: str) -> Float | None:
        """The parameter of that role as float64, if the node has one."""
        parameter = self.node.parameter(role)
        return None if parameter is None else double(self.weights[parameter.name])

    def name(self, role: str) -> str:
        """Neutral name of the parameter of that role."""
        return f"{self.node.name}.{role}"


class Operation:
    """What the reference knows about one operation; subclasses fill in the formulas."""

    def forward(self, call: Call) -> Float:
        """The output, shape ``(examples, *node.shape)``."""
        raise NotImplementedError

    def backward(self, call: Call, gradient: Float) -> InputsAndParameters:
        """Gradients for inputs and parameters from the ``gradient`` for the output."""
        raise NotImplementedError

    def forward_bound(self, call: Call, unit: float) -> Float:
        """Bound on the rounding error of each value of ``forward``."""
        return np.full((len(call.inputs[0]), *call.node.shape), underflow_unit(unit))  # copies are exact

    def backward_bound(self, call: Call, gradient: Float, unit: float) -> InputsAndParameters:
        """Bounds on the rounding error of each value of ``backward``."""
        inputs, parameters = self.backward(call, gradient)
        smallest = underflow_unit(unit)
        return (
            [np.full_like(array, smallest) for array in inputs],
            {name: np.full_like(array, smallest) for name, array in parameters.items()},
        )

    def kinks(self, call: Call) -> NDArray[np.bool_]:
        """Where the derivative jumps, of the output's shape."""
        return np.zeros((len(call.inputs[0]), *call.node.shape), dtype=np.bool_)


def _product_bound(left: Float, right: Float, extra: int, unit: float) -> Float:
    """Bound on the error of ``left @ right``, both 2-d, with ``extra`` more roundings of each term.

    ``gamma_{n + extra} |left| |right|`` (Higham, section 3.5), plus an underflow in each operand and product.
    """
    left, right = np.abs(left), np.abs(right)
    length = left.shape[-1]
    underflow = left.sum(axis=-1)[:, None] + right.sum(axis=0)[None, :] + length + 1.0
    return np.asarray(gamma(length + extra, unit) * (left @ right) + underflow_unit(unit) * underflow)


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
        bound = _product_bound(rows, kernel, 2, unit) + gamma(len(kernel) + 2, unit) * np.abs(bias)
        return bound.reshape((*call.inputs[0].shape[:-1], kernel.shape[1]))

    @override
    def backward_bound(self, call: Call, gradient: Float, unit: float) -> InputsAndParameters:
        kernel, _ = self._weights(call)
        rows, flat = self._flatten(call, gradient)
        parameters = {call.name("kernel"): _product_bound(rows.T, flat, 1, unit)}
        if call.weight("bias") is not None:
            parameters[call.name("bias")] = _product_bound(np.ones((1, len(flat))), flat, 1, unit)[0]
        return [_product_bound(flat, kernel.T, 1, unit).reshape(call.inputs[0].shape)], parameters

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


class Reshape(Operation):
    """Flatten and reshape: the same values in row-major order; exact."""

    @override
    def forward(self, call: Call) -> Float:
        return call.inputs[0].reshape(len(call.inputs[0]), *call.node.shape)

    @override
    def backward(self, call: Call, gradient: Float) -> InputsAndParameters:
        return [gradient.reshape(call.inputs[0].shape)], {}


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
        if call.mask.shape != call.inputs[0].shape:
            raise ValueError(
                f"node {call.node.name!r}: the mask must have the input's shape {call.inputs[0].shape}, "
                f"got {call.mask.shape}"
            )
        return np.asarray(call.mask / (1.0 - call.node.settings.rate))

    def _bound(self, call: Call, values: Float, unit: float) -> Float:
        scale = self._scale(call)
        rate = call.node.settings.rate if call.training else 0.0
        roundings = 4.0 + 2.0 * rate / (1.0 - rate) if call.training else 0.0
        return np.asarray(unit * roundings * np.abs(values) * scale + 2.0 * underflow_unit(unit) * (1.0 + scale))


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


def sum_bound(terms: Sequence[Float], unit: float) -> Float:
    """Bound on the rounding error of a sum of arrays of one shape, in any order."""
    size = sum((np.abs(term) for term in terms), start=np.zeros_like(terms[0]))
    return np.asarray(gamma(len(terms) - 1, unit) * size + underflow_unit(unit) * (2.0 * len(terms)))


OPERATIONS: Mapping[str, Operation] = {
    "dense": Dense(),
    "activation": Activation(),
    "flatten": Reshape(),
    "reshape": Reshape(),
    "dropout": Dropout(),
    "add": Add(),
    "concat": Concat(),
}
"""Every operation, by ``Node.operation``."""


def _call(
    node: Node, weights: Arrays, inputs: Sequence[Array], training: bool, mask: NDArray[np.bool_] | None
) -> tuple[Operation, Call]:
    return OPERATIONS[node.operation], Call(node, weights, tuple(double(array) for array in inputs), training, mask)


def node_forward(
    node: Node, weights: Arrays, inputs: Sequence[Array], *, training: bool, mask: NDArray[np.bool_] | None = None
) -> Float:
    """What a node computes.

    Args:
        node: The node, every setting filled in.
        weights: Parameters by neutral name, any precision; may hold those of other nodes.
        inputs: One array for each of ``node.inputs``, shape ``(examples, *input_shape)``, any precision.
        training: Whether random layers are active.
        mask: Which values a dropout node keeps, shape ``(examples, *node.shape)``.

    Returns:
        Shape ``(examples, *node.shape)``, float64.

    Raises:
        ValueError: A dropout node in training got no mask, or one of another shape.
    """
    operation, call = _call(node, weights, inputs, training, mask)
    return operation.forward(call)


def node_backward(
    node: Node,
    weights: Arrays,
    inputs: Sequence[Array],
    output_gradient: Array,
    *,
    training: bool,
    mask: NDArray[np.bool_] | None = None,
) -> InputsAndParameters:
    """A node's vector-Jacobian product.

    Args:
        node: As for ``node_forward``, and so the other arguments.
        weights: Parameters.
        inputs: The node's inputs.
        output_gradient: Gradient for the node's output, shape ``(examples, *node.shape)``, any precision.
        training: Whether random layers are active.
        mask: Which values a dropout node keeps.

    Returns:
        The gradients for the inputs, one for each of ``node.inputs``, and for the parameters by neutral name; float64.
    """
    operation, call = _call(node, weights, inputs, training, mask)
    return operation.backward(call, double(output_gradient))


def forward_bound(
    node: Node,
    weights: Arrays,
    inputs: Sequence[Array],
    *,
    training: bool,
    mask: NDArray[np.bool_] | None = None,
    unit: float,
) -> Float:
    """How far a correct implementation may lie from ``node_forward``, given the same inputs.

    Args:
        node: As for ``node_forward``, and so the other arguments.
        weights: Parameters, in working precision.
        inputs: The node's inputs, in working precision; finite.
        training: Whether random layers are active.
        mask: Which values a dropout node keeps.
        unit: Unit roundoff of the working precision: ``unit_roundoff(precision)``.

    Returns:
        Shape of the output, float64, greater than 0.
    """
    operation, call = _call(node, weights, inputs, training, mask)
    return operation.forward_bound(call, unit)


def backward_bound(
    node: Node,
    weights: Arrays,
    inputs: Sequence[Array],
    output_gradient: Array,
    *,
    training: bool,
    mask: NDArray[np.bool_] | None = None,
    unit: float,
) -> InputsAndParameters:
    """How far a correct implementation may lie from ``node_backward``, given the same inputs and output gradient.

    Args:
        node: As for ``node_backward``, and so the other arguments.
        weights: Parameters, in working precision.
        inputs: The node's inputs, in working precision; finite.
        output_gradient: Gradient for the node's output, in working precision; finite.
        training: Whether random layers are active.
        mask: Which values a dropout node keeps.
        unit: Unit roundoff of the working precision.

    Returns:
        Bounds of the shapes that ``node_backward`` returns, float64, greater than 0.
    """
    operation, call = _call(node, weights, inputs, training, mask)
    return operation.backward_bound(call, double(output_gradient), unit)


def kinks(node: Node, inputs: Sequence[Array]) -> NDArray[np.bool_]:
    """Where a node's derivative jumps exactly at its input: the gradient there is a convention.

    Returns:
        Bool, of the output's shape; only elementwise operations have kinks, so also of the input's.
    """
    operation, call = _call(node, {}, inputs, training=False, mask=None)
    return operation.kinks(call)
