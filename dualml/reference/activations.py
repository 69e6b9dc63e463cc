"""Activation functions: values, derivatives and rounding bounds.

A correct implementation in working precision with unit roundoff ``u`` is within ``c u M(x)`` of the value
``f(x)``, and its derivative within ``c' u M'(x)`` of ``f'(x)``. ``M`` is not ``|f|`` but the size of the
largest intermediate result of the formulas in use: ``x (1 + erf(x / sqrt 2)) / 2`` cancels for negative ``x``,
the ``erfc`` form does not, and both are correct. The constants were measured with PyTorch 2.13 and TensorFlow
2.21 on CPU, in float32 and float64, over ``|x| <= 100``; beside each stands the worst ``|y - f| / (u M)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dualml.reference.rounding import Float, underflow_unit
from dualml.reference.softmax import SOFTMAX

_Function = Callable[[Any, Float], Float]  # of the activation's settings and its input


class ActivationReference(Protocol):
    """What the reference knows about one activation. ``settings`` is its object from ``dualml.spec.activations``."""

    def value(self, settings: Any, x: Float) -> Float:
        """``f(x)``, of ``x``'s shape."""

    def vector_jacobian(self, settings: Any, x: Float, gradient: Float) -> Float:
        """Gradient for ``x`` from the ``gradient`` for ``f(x)``, both of ``x``'s shape."""

    def value_bound(self, settings: Any, x: Float, unit: float) -> Float:
        """Bound on the rounding error of ``f(x)``."""

    def vector_jacobian_bound(self, settings: Any, x: Float, gradient: Float, unit: float) -> Float:
        """Bound on the rounding error of ``vector_jacobian``."""

    def kinks(self, settings: Any, x: Float) -> NDArray[np.bool_]:
        """Where ``f'`` jumps exactly at ``x``."""


def sigmoid(x: Float) -> Float:
    """``1 / (1 + exp(-x))`` without overflow, accurate to a few ulp for every ``x``."""
    tail = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, tail) / (1.0 + tail)


# ------------------------------------------------------------------ relu, tanh, sigmoid


def _nothing(settings: Any, x: Float) -> Float:  # noqa: ARG001 (the same signature for all)
    return np.zeros_like(x)


def _no_kinks(settings: Any, x: Float) -> NDArray[np.bool_]:  # noqa: ARG001
    return np.zeros(x.shape, dtype=np.bool_)


def _relu(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return np.maximum(x, 0.0)


def _relu_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return (x > 0).astype(np.float64)


def _tanh(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return np.tanh(x)


def _tanh_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    tail = np.exp(-2.0 * np.abs(x))  # 1 - tanh^2 would cancel
    return np.asarray(4.0 * tail / (1.0 + tail) ** 2)


def _sigmoid_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return sigmoid(x) * sigmoid(-x)


# ------------------------------------------------------------------ gelu

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


# ------------------------------------------------------------------ leaky_relu, elu, silu


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


def _silu(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return x * sigmoid(x)


def _silu_derivative(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return sigmoid(x) * (1.0 + x * sigmoid(-x))


def _silu_derivative_magnitude(settings: Any, x: Float) -> Float:  # noqa: ARG001
    return sigmoid(x) * (1.0 + np.abs(x))  # 1 - sigmoid cancels for large x


# ------------------------------------------------------------------ softplus


def _threshold(settings: Any) -> float:
    return np.inf if settings.threshold == "none" else float(settings.threshold)


def _softplus(settings: Any, x: Float) -> Float:
    z = settings.beta * x
    smooth = (np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))) / settings.beta
    return np.where(z > _threshold(settings), x, smooth)


def _softplus_derivative(settings: Any, x: Float) -> Float:
    z = settings.beta * x
    return np.where(z > _threshold(settings), 1.0, sigmoid(z))


def _softplus_magnitude(settings: Any, x: Float) -> Float:
    z = settings.beta * x
    rounded_argument = 0.0 if settings.beta == 1 else np.abs(x) * sigmoid(z)
    return np.asarray(_softplus(settings, x) + rounded_argument)


def _softplus_derivative_magnitude(settings: Any, x: Float) -> Float:
    z = settings.beta * x
    return np.asarray(sigmoid(z) * (1.0 if settings.beta == 1 else 1.0 + np.abs(z) * sigmoid(-z)))


def _at_threshold(settings: Any, x: Float, unit: float) -> NDArray[np.bool_]:
    threshold = _threshold(settings)
    if np.isinf(threshold):
        return np.zeros(x.shape, dtype=np.bool_)
    return np.asarray(np.abs(settings.beta * x - threshold) <= 4.0 * unit * abs(threshold))


def _softplus_jump(settings: Any, x: Float, unit: float) -> Float:
    z = settings.beta * x
    return np.where(_at_threshold(settings, x, unit), np.log1p(np.exp(-np.abs(z))) / settings.beta, 0.0)


def _softplus_derivative_jump(settings: Any, x: Float, unit: float) -> Float:
    return np.where(_at_threshold(settings, x, unit), sigmoid(-settings.beta * x), 0.0)


def _softplus_kinks(settings: Any, x: Float) -> NDArray[np.bool_]:
    return np.asarray(settings.beta * x == _threshold(settings))


# ------------------------------------------------------------------ the table


def _no_jump(settings: Any, x: Float, unit: float) -> Float:  # noqa: ARG001
    return np.zeros_like(x)


@dataclass(frozen=True)
class Elementwise:
    """An activation that treats every value by itself.

    Attributes:
        function: ``f``.
        derivative: ``f'``; at a kink, the frameworks' value.
        constant: ``c``.
        magnitude: ``M``.
        derivative_constant: ``c'``.
        derivative_magnitude: ``M'``.
        kink: Where ``f'`` jumps.
        jump: What ``f`` may be off by where a rounded comparison takes the other branch.
        derivative_jump: The same for ``f'``.
    """

    function: _Function
    derivative: _Function
    constant: float = 0.0
    magnitude: _Function = _nothing
    derivative_constant: float = 0.0
    derivative_magnitude: _Function = _nothing
    kink: Callable[[Any, Float], NDArray[np.bool_]] = _no_kinks
    jump: Callable[[Any, Float, float], Float] = _no_jump
    derivative_jump: Callable[[Any, Float, float], Float] = _no_jump

    def value(self, settings: Any, x: Float) -> Float:
        """``f(x)``."""
        return self.function(settings, x)

    def vector_jacobian(self, settings: Any, x: Float, gradient: Float) -> Float:
        """``gradient f'(x)``."""
        return gradient * self.derivative(settings, x)

    def value_bound(self, settings: Any, x: Float, unit: float) -> Float:
        """``c u M(x)``, plus underflow in the operand, in a factor of ``x`` (silu, gelu) and in the result."""
        underflow = 2.0 * underflow_unit(unit) * (1.0 + np.abs(self.derivative(settings, x)) + np.abs(x))
        rounding = self.constant * unit * self.magnitude(settings, x)
        return rounding + self.jump(settings, x, unit) + underflow

    def vector_jacobian_bound(self, settings: Any, x: Float, gradient: Float, unit: float) -> Float:
        """``|gradient| (c' u M'(x) + 2 u |f'(x)|)``, plus underflow.

        Where denormal numbers count as zero, a kink at 0 reaches as far as the smallest normal number.
        """
        smallest = underflow_unit(unit)
        derivative, magnitude = np.abs(self.derivative(settings, x)), self.derivative_magnitude(settings, x)
        edge = np.full_like(x, smallest)
        across = np.abs(self.derivative(settings, edge) - self.derivative(settings, -edge))
        error = unit * (self.derivative_constant * magnitude + 2.0 * derivative) + 2.0 * smallest * (1.0 + np.abs(x))
        error += self.derivative_jump(settings, x, unit)
        error += np.where((x != 0) & (np.abs(x) < smallest), across, 0.0)
        return np.abs(gradient) * error + 2.0 * smallest * (1.0 + np.abs(x) + magnitude + derivative)

    def kinks(self, settings: Any, x: Float) -> NDArray[np.bool_]:
        """Where ``f'`` jumps."""
        return self.kink(settings, x)


ACTIVATIONS: Mapping[str, ActivationReference] = {
    "relu": Elementwise(_relu, _relu_derivative, kink=lambda _, x: x == 0),  # exact
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
    "gelu": Elementwise(
        _gelu,
        _gelu_derivative,
        constant=20,  # 6.2: PyTorch float32, x = 2.9; TensorFlow 5.1 (tanh form, float64)
        magnitude=_gelu_magnitude,
        derivative_constant=24,  # 7.6: PyTorch float32, x = 0.06; TensorFlow 7.5 (tanh form, float64)
        derivative_magnitude=_gelu_derivative_magnitude,
    ),
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
    "silu": Elementwise(
        _silu,
        _silu_derivative,
        constant=24,  # 8.8: TensorFlow float32, x = -14.4; PyTorch 4.6
        magnitude=lambda _, x: np.abs(x) * sigmoid(x),
        derivative_constant=20,  # 5.8: TensorFlow float32, x = -31; PyTorch 5.0
        derivative_magnitude=_silu_derivative_magnitude,
    ),
    "softplus": Elementwise(
        _softplus,
        _softplus_derivative,
        constant=24,  # 8.8: TensorFlow float64, x = -34; PyTorch 3.9
        magnitude=_softplus_magnitude,
        derivative_constant=20,  # 6.2: TensorFlow float32, x = -14.5; PyTorch 2.0
        derivative_magnitude=_softplus_derivative_magnitude,
        kink=_softplus_kinks,
        jump=_softplus_jump,
        derivative_jump=_softplus_derivative_jump,
    ),
    "softmax": SOFTMAX,
}
"""Every activation, by kind."""
