"""Bounded functions and their kin: tanh, sigmoid, tanh_shrink, softsign; and the exponential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dualml.reference.activations.base import ActivationReference, Elementwise, sigmoid
from dualml.reference.rounding import Float


def _tanh(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return np.tanh(x)


def _tanh_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    tail = np.exp(-2.0 * np.abs(x))  # 1 - tanh^2 would cancel
    return np.asarray(4.0 * tail / (1.0 + tail) ** 2)


def _sigmoid_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return sigmoid(x) * sigmoid(-x)


def _tanh_shrink(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return x - np.tanh(x)


def _softsign(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return x / (1.0 + np.abs(x))


def _softsign_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return (1.0 + np.abs(x)) ** -2.0


def _exponential(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return np.exp(x)


FUNCTIONS: Mapping[str, ActivationReference] = {
    "tanh": Elementwise(
        _tanh,
        _tanh_derivative,
        constant=20,  # 7.0: TensorFlow float64, x = -7.1; PyTorch 2.0
        magnitude=lambda _, x: np.abs(np.tanh(x)),
        derivative_constant=20,  # 7.4: TensorFlow float64, as 1 - y^2
        derivative_magnitude=lambda _, x: 1.0 + np.tanh(x) ** 2,
    ),
    "sigmoid": Elementwise(
        lambda _, x: sigmoid(x),
        _sigmoid_derivative,
        constant=24,  # 8.2: TensorFlow float32, x = -14.5; PyTorch 4.0
        magnitude=lambda _, x: sigmoid(x),
        derivative_constant=20,  # 6.0: TensorFlow float32, as y (1 - y), which cancels for large x
        derivative_magnitude=lambda _, x: sigmoid(x),
    ),
    "tanh_shrink": Elementwise(
        _tanh_shrink,
        lambda _, x: np.tanh(x) ** 2,
        constant=8,  # 2.1: TensorFlow with XLA float32; PyTorch 0.8
        magnitude=lambda _, x: np.abs(x) + np.abs(np.tanh(x)),
        derivative_constant=20,  # 4.6: TensorFlow float32, x = 5.9; PyTorch 1.4
        derivative_magnitude=lambda _, x: 1.0 + np.tanh(x) ** 2,
    ),
    "softsign": Elementwise(
        _softsign,
        _softsign_derivative,
        constant=6,  # 2.0 in both
        magnitude=lambda _, x: np.abs(x) / (1.0 + np.abs(x)),
        derivative_constant=8,  # 3.0: PyTorch float32
        derivative_magnitude=lambda _, x: 1.0 / (1.0 + np.abs(x)),  # 1 / s - |x| / s^2 cancels
    ),
    "exponential": Elementwise(
        _exponential,
        _exponential,
        constant=8,  # 1.9: TensorFlow float32, x = 0.7; PyTorch 1.0
        magnitude=_exponential,
        derivative_constant=8,  # 2.2: TensorFlow float32; PyTorch 1.5
        derivative_magnitude=_exponential,
    ),
}
"""By kind."""
