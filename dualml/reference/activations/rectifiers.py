"""Rectifiers with a curved or sloped negative side: relu, leaky_relu, elu, selu, celu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualml.reference.activations.base import ActivationReference, Elementwise
from dualml.reference.rounding import Float


def _relu(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return np.maximum(x, 0.0)


def _relu_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return (x > 0).astype(np.float64)


def _leaky_relu(settings: Any, x: Float) -> Float:
    return np.where(x > 0, x, settings.negative_slope * x)


def _leaky_relu_derivative(settings: Any, x: Float) -> Float:
    return np.where(x > 0, 1.0, settings.negative_slope)


def _leaky_relu_magnitude(settings: Any, x: Float) -> Float:
    return np.where(x > 0, 0.0, np.abs(settings.negative_slope * x))


def _leaky_relu_derivative_magnitude(settings: Any, x: Float) -> Float:
    return np.where(x > 0, 0.0, abs(settings.negative_slope))


def _leaky_relu_kinks(settings: Any, x: Float) -> NDArray[np.bool_]:
    return np.asarray((x == 0) & (settings.negative_slope != 1))


def _elu(settings: Any, x: Float) -> Float:
    return np.where(x > 0, x, settings.alpha * np.expm1(np.minimum(x, 0.0)))


def _elu_derivative(settings: Any, x: Float) -> Float:
    return np.where(x > 0, 1.0, settings.alpha * np.exp(np.minimum(x, 0.0)))


def _elu_magnitude(settings: Any, x: Float) -> Float:
    return np.where(x > 0, 0.0, settings.alpha)  # exp(x) - 1 cancels; its gradient may be taken from the value


def _elu_kinks(settings: Any, x: Float) -> NDArray[np.bool_]:
    return np.asarray((x == 0) & (settings.alpha != 1))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _selu(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0.0)))


def _selu_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return _SELU_SCALE * np.where(x > 0, 1.0, _SELU_ALPHA * np.exp(np.minimum(x, 0.0)))


def _selu_magnitude(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA)


def _selu_derivative_magnitude(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return _SELU_SCALE * np.where(x > 0, 1.0, _SELU_ALPHA)


def _celu(settings: Any, x: Float) -> Float:
    return np.where(x > 0, x, settings.alpha * np.expm1(np.minimum(x, 0.0) / settings.alpha))


def _celu_derivative(settings: Any, x: Float) -> Float:
    return np.where(x > 0, 1.0, np.exp(np.minimum(x, 0.0) / settings.alpha))


def _celu_derivative_magnitude(settings: Any, x: Float) -> Float:
    z = np.minimum(x, 0.0) / settings.alpha  # exp(z) has |z| times the relative error of its argument
    return np.asarray(1.0 + np.abs(z) * np.exp(z))


FUNCTIONS: Mapping[str, ActivationReference] = {
    "relu": Elementwise(_relu, _relu_derivative, kink=lambda _, x: x == 0),  # exact
    "leaky_relu": Elementwise(
        _leaky_relu,
        _leaky_relu_derivative,
        constant=3,  # 1.6 in both; at most 2: the slope and the product rounded
        magnitude=_leaky_relu_magnitude,
        derivative_constant=2,  # at most 1: the slope rounded
        derivative_magnitude=_leaky_relu_derivative_magnitude,
        kink=_leaky_relu_kinks,
    ),
    "elu": Elementwise(
        _elu,
        _elu_derivative,
        constant=6,  # 2.0: TensorFlow float32, alpha 0.3; PyTorch 1.8
        magnitude=_elu_magnitude,
        derivative_constant=4,  # 0.8: TensorFlow with XLA; PyTorch 0.7
        derivative_magnitude=_elu_magnitude,
        kink=_elu_kinks,
    ),
    "selu": Elementwise(
        _selu,
        _selu_derivative,
        constant=8,  # 3.2: TensorFlow float32, x = -9.1; PyTorch 1.6
        magnitude=_selu_magnitude,
        derivative_constant=8,  # 1.9: PyTorch float32
        derivative_magnitude=_selu_derivative_magnitude,
        kink=lambda _, x: x == 0,
    ),
    "celu": Elementwise(
        _celu,
        _celu_derivative,
        constant=8,  # 3.8: TensorFlow float32, alpha 0.3; PyTorch 1.9
        magnitude=_elu_magnitude,
        derivative_constant=8,  # 2.0: PyTorch float32, alpha 0.3
        derivative_magnitude=_celu_derivative_magnitude,
    ),
}
"""By kind."""
