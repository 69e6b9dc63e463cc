"""Every operation of the reference, and one node evaluated and judged by itself; one module for each family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dualml.protocol import Array, Arrays
from dualml.reference.layers import (
    activation,
    attention,
    convolution,
    dense,
    dropout,
    embedding,
    gated,
    masks,
    merge,
    normalization,
    pooling,
    recurrent,
    shape,
)
from dualml.reference.layers.base import Call, InputsAndParameters, Operation, sum_bound
from dualml.reference.rounding import Float, double
from dualml.spec.graph import Node

OPERATIONS: Mapping[str, Operation] = {
    **dense.OPERATIONS,
    **convolution.OPERATIONS,
    **activation.OPERATIONS,
    **shape.OPERATIONS,
    **dropout.OPERATIONS,
    **merge.OPERATIONS,
    **recurrent.OPERATIONS,
    **masks.OPERATIONS,
    **embedding.OPERATIONS,
    **attention.OPERATIONS,
    **normalization.OPERATIONS,
    **pooling.OPERATIONS,
    **gated.OPERATIONS,
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


def new_buffers(node: Node, weights: Arrays, inputs: Sequence[Array]) -> dict[str, Float]:
    """What a node's buffers become in training.

    Args:
        node: As for ``node_forward``, and so the other arguments.
        weights: Parameters and buffers.
        inputs: The node's inputs.

    Returns:
        By neutral name, float64.
    """
    if not node.buffers:
        return {}
    operation, call = _call(node, weights, inputs, training=True, mask=None)
    return operation.new_buffers(call)


def new_buffers_bound(node: Node, weights: Arrays, inputs: Sequence[Array], *, unit: float) -> dict[str, Float]:
    """How far a correct implementation may lie from ``new_buffers``, given the same inputs.

    Args:
        node: As for ``node_forward``, and so the other arguments.
        weights: Parameters and buffers, in working precision.
        inputs: The node's inputs, in working precision; finite.
        unit: Unit roundoff of the working precision.
    """
    if not node.buffers:
        return {}
    operation, call = _call(node, weights, inputs, training=True, mask=None)
    return operation.new_buffers_bound(call, unit)


def kinks(node: Node, inputs: Sequence[Array]) -> NDArray[np.bool_]:
    """Where a node's derivative jumps exactly at its input: the gradient there is a convention.

    Returns:
        Bool, of the output's shape; only elementwise operations have kinks, so also of the input's.
    """
    operation, call = _call(node, {}, inputs, training=False, mask=None)
    return operation.kinks(call)


__all__ = [
    "OPERATIONS",
    "backward_bound",
    "forward_bound",
    "kinks",
    "new_buffers",
    "new_buffers_bound",
    "node_backward",
    "node_forward",
    "sum_bound",
]
