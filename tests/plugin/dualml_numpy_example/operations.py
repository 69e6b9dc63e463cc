"""Layers, activations and losses: each returns its value and what carries a gradient back through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dualml.protocol import Array, Arrays
from dualml.spec.graph import Node
from dualml.spec.losses import CrossEntropy, Loss

Backward = Callable[[Array], tuple[list[Array], dict[str, Array]]]
"""From the gradient of the value to those of the inputs, in order, and of the parameters, by name."""


def dense(node: Node, inputs: list[Array], weights: Arrays, mask: Array | None) -> tuple[Array, Backward]:
    """``x K + b`` over the last axis: x ``(examples, ..., inputs)``, K ``(inputs, units)``, b ``(units,)``."""
    (x,) = inputs
    names = {item.role: item.name for item in node.parameters}  # of a shared layer they are another node's
    kernel = weights[names["kernel"]]
    bias = weights[names["bias"]] if "bias" in names else None
    value = np.matmul(x, kernel)
    if bias is not None:
        value = value + bias

    def backward(gradient: Array) -> tuple[list[Array], dict[str, Array]]:
        rows = gradient.reshape(-1, gradient.shape[-1])
        parameters = {names["kernel"]: x.reshape(-1, x.shape[-1]).T @ rows}
        if bias is not None:
            parameters[names["bias"]] = rows.sum(axis=0)
        return [np.matmul(gradient, kernel.T)], parameters

    return value, backward


def relu(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """``max(x, 0)``, its derivative at 0 being 0."""
    return np.maximum(x, 0), lambda gradient: np.where(x > 0, gradient, 0)


def tanh(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """``tanh(x)``."""
    value = np.tanh(x)
    return value, lambda gradient: gradient * (1 - value) * (1 + value)


def sigmoid(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """``1 / (1 + exp(-x))``, with only negative numbers in ``exp`` so that nothing overflows."""
    small = np.exp(-np.abs(x))
    value = np.where(x < 0, small, 1) / (1 + small)
    return value, lambda gradient: gradient * small / ((1 + small) * (1 + small))


def softmax(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """``exp(x) / sum(exp(x))`` over the last axis, shifted by the largest value."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    value = powers / powers.sum(axis=-1, keepdims=True)
    return value, lambda gradient: value * (gradient - (gradient * value).sum(axis=-1, keepdims=True))


ACTIVATIONS: Mapping[str, Callable[[Array], tuple[Array, Callable[[Array], Array]]]] = {
    "relu": relu,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softmax": softmax,
}
"""Activation functions by kind."""


def activation(node: Node, inputs: list[Array], weights: Arrays, mask: Array | None) -> tuple[Array, Backward]:
    """The activation function the node names; one that normalises does so over the axis of its settings."""
    (x,), function = inputs, node.settings.function
    axis = getattr(function, "axis", -1)
    axis = axis + 1 if axis >= 0 else axis
    value, backward = ACTIVATIONS[function.kind](np.moveaxis(x, axis, -1))
    return np.moveaxis(value, -1, axis), lambda gradient: (
        [np.moveaxis(backward(np.moveaxis(gradient, axis, -1)), -1, axis)],
        {},
    )


def dropout(node: Node, inputs: list[Array], weights: Arrays, mask: Array | None) -> tuple[Array, Backward]:
    """``x m / (1 - rate)`` with a mask ``m``; without one, ``x``."""
    (x,) = inputs
    if mask is None:
        return x, lambda gradient: ([gradient], {})
    keep = 1.0 - node.settings.rate
    return np.where(mask, x, 0) / keep, lambda gradient: ([np.where(mask, gradient, 0) / keep], {})


def flatten(node: Node, inputs: list[Array], weights: Arrays, mask: Array | None) -> tuple[Array, Backward]:
    """All axes of an example as one, in the order the node says."""
    (x,) = inputs
    if node.operation == "flatten" and node.settings.order == "channels_first":
        moved = np.moveaxis(x, -1, 1)
        return moved.reshape(len(x), -1), lambda gradient: (
            [np.moveaxis(gradient.reshape(moved.shape), 1, -1)],
            {},
        )
    return x.reshape(len(x), -1), lambda gradient: ([gradient.reshape(x.shape)], {})


def add(node: Node, inputs: list[Array], weights: Arrays, mask: Array | None) -> tuple[Array, Backward]:
    """Sum of the inputs, from the first to the last."""
    value = inputs[0]
    for other in inputs[1:]:
        value = value + other
    return value, lambda gradient: ([gradient] * len(inputs), {})


OPERATIONS: Mapping[str, Callable[[Node, list[Array], Arrays, Array | None], tuple[Array, Backward]]] = {
    "dense": dense,
    "activation": activation,
    "dropout": dropout,
    "flatten": flatten,
    "add": add,
}
"""Layers by kind."""


def cross_entropy(loss: CrossEntropy, output: Array, targets: Array) -> tuple[Array, Array]:
    """Softmax cross-entropy of each example, and its gradient for the output.

    Where an example has several positions, its loss is their mean; or their sum, if the loss counts positions.
    """
    shifted = output - output.max(axis=-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    classes = output.shape[-1]
    kept = targets != loss.ignore_index if loss.ignore_index != "none" else np.ones(targets.shape, dtype=bool)
    chosen = np.where(kept, targets, 0)
    wanted = np.full(output.shape, loss.label_smoothing / classes, dtype=output.dtype)
    np.put_along_axis(wanted, chosen[..., None], 1.0 - loss.label_smoothing + loss.label_smoothing / classes, axis=-1)
    if loss.class_weights != "none":
        weights = np.array(loss.class_weights, dtype=output.dtype)
        wanted = wanted * (weights if loss.weighted_smoothing == "per_class" else weights[chosen][..., None])
    wanted = np.where(kept[..., None], wanted, 0)
    positions = 1 if loss.counts_positions else targets[0].size
    each = -(wanted * log_softmax).reshape(len(output), -1).sum(axis=1) / positions
    return each, (np.exp(log_softmax) * wanted.sum(axis=-1, keepdims=True) - wanted) / positions


def mean_squared_error(loss: Loss, output: Array, targets: Array) -> tuple[Array, Array]:
    """Mean of the squared differences of each example, and its gradient for the output."""
    difference = output - targets
    size = difference[0].size
    return (difference * difference).reshape(len(output), -1).sum(axis=1) / size, difference * 2 / size


LOSSES: Mapping[str, Callable[[Any, Array, Array], tuple[Array, Array]]] = {
    "cross_entropy": cross_entropy,
    "mse": mean_squared_error,
}
"""Losses by kind: each example's loss and its gradient for the output."""

PREDICTIONS: Mapping[str, Callable[[Array], Array]] = {
    "softmax": lambda output: softmax(output)[0],
    "sigmoid": lambda output: np.asarray(1.0 / (1.0 + np.exp(-output)), dtype=output.dtype),
    "identity": lambda output: output,
}
"""What turns an output into a prediction."""
