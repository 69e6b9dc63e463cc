"""Functions ``x g(x)`` with a gate ``g`` between 0 and 1: gelu, silu, swish, mish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dualml.reference.activations.base import ActivationReference, Elementwise, sigmoid
from dualml.reference.rounding import Float

_ROOT_HALF = np.sqrt(0.5)
_ROOT_TWO_OVER_PI = np.sqrt(2.0 / np.pi)
_CUBE = 0.044715
_FAR = 100.0  # beyond it the derivative of either form is 0 or 1 in float64, and its terms would overflow
_SATURATED = 8.0  # beyond it the tanh form's derivative is 0 or 1 in both frameworks and precisions (measured)


def _normal_cdf(x: Float) -> Float:
    from scipy.special import erfc  # type: ignore[import-untyped]

    return np.asarray(0.5 * erfc(-x * _ROOT_HALF))


def _normal_density(x: Float) -> Float:
    return np.asarray(np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi))


def _cubic(x: Float) -> Float:
    with np.errstate(over="ignore"):  # tanh of infinity is right
        return np.asarray(_ROOT_TWO_OVER_PI * (x + _CUBE * x**3))


def _cubic_derivative(x: Float) -> Float:
    return np.asarray(_ROOT_TWO_OVER_PI * (1.0 + 3.0 * _CUBE * x * x))


def _gelu(settings: Any, x: Float) -> Float:
    if settings.approximate == "tanh":
        return x * sigmoid(2.0 * _cubic(x))  # (1 + tanh a) / 2 = sigmoid(2 a), which does not cancel
    return x * _normal_cdf(x)


def _gelu_derivative(settings: Any, x: Float) -> Float:
    near = np.clip(x, -_FAR, _FAR)
    if settings.approximate == "tanh":
        twice = 2.0 * _cubic(near)
        return sigmoid(twice) + 2.0 * near * _cubic_derivative(near) * sigmoid(twice) * sigmoid(-twice)
    return _normal_cdf(x) + near * _normal_density(near)


def _gelu_magnitude(settings: Any, x: Float) -> Float:
    inner = np.tanh(_cubic(x)) if settings.approximate == "tanh" else 2.0 * _normal_cdf(x) - 1.0
    return np.abs(x) * (1.0 + np.abs(inner)) / 2.0


def _gelu_derivative_magnitude(settings: Any, x: Float) -> Float:
    if settings.approximate == "tanh":
        near = np.minimum(np.abs(x), _SATURATED)  # 1 - tanh^2 carries an absolute error of a few u
        return np.asarray(1.0 + near * _cubic_derivative(near))
    near = np.minimum(np.abs(x), _FAR)  # exp(-x^2 / 2) has x^2 times the relative error of its argument
    return _normal_cdf(near) + near * _normal_density(near) * (1.0 + near * near)


def _silu(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return x * sigmoid(x)


def _silu_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return sigmoid(x) * (1.0 + x * sigmoid(-x))


def _silu_derivative_magnitude(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return sigmoid(x) * (1.0 + np.abs(x))  # 1 - sigmoid cancels for large x


def _swish(settings: Any, x: Float) -> Float:
    return np.asarray(x * sigmoid(settings.beta * x))


def _swish_derivative(settings: Any, x: Float) -> Float:
    z = settings.beta * x
    return np.asarray(sigmoid(z) * (1.0 + z * sigmoid(-z)))


def _swish_magnitude(settings: Any, x: Float) -> Float:
    z = settings.beta * x  # rounded before the sigmoid is taken of it
    return np.asarray(np.abs(x) * sigmoid(z) * (1.0 + np.abs(z) * sigmoid(-z)))


def _swish_derivative_magnitude(settings: Any, x: Float) -> Float:
    z = settings.beta * x
    return np.asarray(sigmoid(z) * (1.0 + np.abs(z)) * (1.0 + np.abs(z) * sigmoid(-z)))


_TANH_IS_ONE = 20.0  # from softplus(x) = 20 on, 1 - tanh^2 is 0 in every precision


def _mish_gate(x: Float) -> tuple[Float, Float]:
    """``tanh(softplus(x))`` and ``1 - tanh^2``, neither of which cancels: rational functions of ``exp(-|x|)``."""
    n = np.exp(-np.abs(x))
    positive, both = x > 0, np.where(x > 0, 1.0 + 2.0 * n + 2.0 * n * n, n * n + 2.0 * n + 2.0)
    gate = np.where(positive, 1.0 + 2.0 * n, n * n + 2.0 * n) / both
    return gate, (1.0 + gate) * np.where(positive, 2.0 * n * n, 2.0) / both


def _mish(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return x * _mish_gate(x)[0]


def _mish_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    gate, slope = _mish_gate(x)
    return gate + x * slope * sigmoid(x)


def _mish_derivative_magnitude(settings: Any, x: Float) -> Float:  # noqa: ARG001
    gate, _ = _mish_gate(x)  # 1 - tanh^2 carries an absolute error of a few u
    return gate + np.minimum(np.abs(x), _TANH_IS_ONE) * sigmoid(x) * (1.0 + gate * gate)


FUNCTIONS: Mapping[str, ActivationReference] = {
    "gelu": Elementwise(
        _gelu,
        _gelu_derivative,
        constant=20,  # 6.2: PyTorch float32, x = 2.9; TensorFlow 5.1 (tanh form, float64)
        magnitude=_gelu_magnitude,
        derivative_constant=24,  # 7.6: PyTorch float32, x = 0.06; TensorFlow 7.5 (tanh form, float64)
        derivative_magnitude=_gelu_derivative_magnitude,
    ),
    "silu": Elementwise(
        _silu,
        _silu_derivative,
        constant=24,  # 8.8: TensorFlow float32, x = -14.4; PyTorch 4.6
        magnitude=lambda _, x: np.abs(x) * sigmoid(x),
        derivative_constant=20,  # 5.8: TensorFlow float32, x = -31; PyTorch 5.0
        derivative_magnitude=_silu_derivative_magnitude,
    ),
    "swish": Elementwise(
        _swish,
        _swish_derivative,
        constant=28,  # 11.7: TensorFlow float32, 1.702 x = -87.3; PyTorch 2.9
        magnitude=_swish_magnitude,
        derivative_constant=28,  # 11.3: TensorFlow float32, 1.702 x = -87.4; PyTorch 3.0
        derivative_magnitude=_swish_derivative_magnitude,
    ),
    "mish": Elementwise(
        _mish,
        _mish_derivative,
        constant=30,  # 9.7: TensorFlow float32; PyTorch 3.9
        magnitude=lambda _, x: np.abs(x) * _mish_gate(x)[0],
        derivative_constant=40,  # 17.6: TensorFlow float32, x = -53; PyTorch 7.2
        derivative_magnitude=_mish_derivative_magnitude,
    ),
}
"""By kind."""
